"""The collector: takes interactions and feedback, durable before it says so.

Records that arrive while one commit is being synced to disk wait and share the next one (group
commit), so the cost of a sync is paid once for all of them. Cleaning, writing, and syncing happen
in a thread; the event loop goes on.
"""

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from llm_assets.errors import UserError
from llm_assets.feedback import unassigned
from llm_assets.feedback.known_ids import KnownIds
from llm_assets.feedback.log import Log, LogKind, LogWriter, Record
from llm_assets.records import Feedback, Interaction

MAX_WAITING_RECORDS = 20_000

_LOG = logging.getLogger(__name__)


class Cleaning(Protocol):
    """What cleans records of personal data."""

    def __call__(self, record: Record, /) -> Record:
        """Return the record as it may be stored."""
        ...

    def pseudonym(self, value: str, /) -> str:
        """Return an id as it is stored."""
        ...


class Accepted(NamedTuple):
    """How many records were new, and how many the collector had already."""

    num_accepted: int
    num_duplicates: int


class BusyError(Exception):
    """Too much waits for the disk; nothing of this was taken. HTTP answers 429."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class _Batch:
    """What one caller waits for."""

    records: Sequence[Record]
    outcome: asyncio.Future[Accepted]


class Collector:
    """Accepts records once: a repeated id is acknowledged and not written again.

    A shadow's answers go to a log of their own, where no feedback finds them.
    Feedback under the application `unassigned.APPLICATION` is kept until its request arrives and
    tells its application. `on_accepted` is called in the thread that writes.
    """

    def __init__(
        self, home: Path, scrub: Cleaning, *, on_accepted: Callable[[Record], None] = lambda _: None
    ) -> None:
        self._home = home
        self._scrub = scrub
        self._logs = {kind: Log.of(kind, home) for kind in LogKind}
        self._writers = {kind: LogWriter(log, scrub) for kind, log in self._logs.items()}
        self._unassigned_writer = LogWriter(unassigned.unassigned_log(home), scrub)
        self._on_accepted = on_accepted
        self._known = KnownIds(scrub.pseudonym)
        self._num_pending: Counter[str] = Counter()  # unassigned feedback by the id of its request
        self._has_arrived = False  # whether a request came that unassigned feedback waits for
        self._moved: set[str] = set()  # written under their application, not yet removed
        self._waiting: list[_Batch] = []
        self._num_waiting = 0
        self._has_waiting = asyncio.Event()
        self._seconds_per_record = 0.0

    def load(self) -> None:
        """Read back the ids that the log holds, and end the moves that a crash interrupted."""
        for kind, log in self._logs.items():
            self._known.load(kind, log)
        for feedback in unassigned.read(self._home):
            key = self._known.key_of(feedback)
            if key in self._known:
                self._moved.add(feedback.feedback_id)
            else:
                self._remember(key, feedback)
                self._has_arrived |= self._application(feedback) is not None
        self._assign()

    async def run(self) -> None:
        """Commit what waits, group after group, until cancelled."""
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            group, self._waiting = self._waiting, []
            num_records, started = sum(len(batch.records) for batch in group), time.monotonic()
            work = asyncio.to_thread(self._write, [batch.records for batch in group])
            # A mistake of ours must fail the callers that wait, and not those who come after.
            (outcomes,) = await asyncio.gather(work, return_exceptions=True)
            if isinstance(outcomes, BaseException):
                outcomes = [outcomes] * len(group)
            self._num_waiting -= num_records
            self._seconds_per_record = (time.monotonic() - started) / max(num_records, 1)
            for batch, outcome in zip(group, outcomes, strict=True):
                if batch.outcome.done():  # the caller was cancelled
                    continue
                if isinstance(outcome, BaseException):
                    batch.outcome.set_exception(outcome)
                else:
                    batch.outcome.set_result(outcome)

    async def submit(self, records: Sequence[Record]) -> Accepted:
        """Wait until the records are on disk.

        Raises:
            BusyError: too many records wait already; none of these was taken.
            OSError: the disk refused. Those that it took are known when they come again.
            UserError: a record could not be cleaned; those that could may have been taken.
        """
        # A batch over the limit could never come in if it were not let in alone.
        if self._num_waiting and self._num_waiting + len(records) > MAX_WAITING_RECORDS:
            seconds = max(1, math.ceil(self._num_waiting * self._seconds_per_record))
            raise BusyError("too many records wait for the disk", retry_after_seconds=seconds)
        batch = _Batch(records, asyncio.get_running_loop().create_future())
        self._num_waiting += len(records)
        self._waiting.append(batch)
        self._has_waiting.set()
        return await batch.outcome

    def application_of(self, request_id: str) -> str | None:
        """Return whose request an id or alias is, or None if it has not arrived."""
        return self._known.application_of(request_id)

    def _write(self, batches: Sequence[Sequence[Record]]) -> list[Accepted | Exception]:
        """Write what is new of a group, and say of each batch what became of it."""
        new: dict[bytes, Record] = {}
        keys: list[list[bytes]] = []
        nums_new: list[int] = []
        for records in batches:
            num_before = len(new)
            keys.append([self._known.key_of(record) for record in records])
            for key, record in zip(keys[-1], records, strict=True):
                if key not in self._known:
                    new.setdefault(key, record)
            nums_new.append(len(new) - num_before)
        failures = self._append({k: r for k, r in new.items() if isinstance(r, Interaction)})
        failures |= self._append({k: r for k, r in new.items() if isinstance(r, Feedback)})
        self._assign()
        outcomes: list[Accepted | Exception] = []
        for batch_keys, num_new in zip(keys, nums_new, strict=True):
            failed = [failures[key] for key in batch_keys if key in failures]
            accepted = Accepted(num_new, len(batch_keys) - num_new)
            outcomes.append(failed[0] if failed else accepted)
        return outcomes

    def _append(self, records: Mapping[bytes, Record]) -> dict[bytes, Exception]:
        """Write records, partition by partition, and return what failed.

        A partition is written as a whole or not at all, so what failed may be sent again.
        """
        partitions: dict[tuple[object, ...], dict[bytes, Record]] = defaultdict(dict)
        failures: dict[bytes, Exception] = {}
        num_free = unassigned.MAX_UNASSIGNED - self._num_pending.total()
        for key, record in records.items():
            if isinstance(record, Feedback) and record.application == unassigned.APPLICATION:
                # Its request may have come while it was on its way here.
                application = self._application(record) or unassigned.APPLICATION
                record = replace(record, application=application)
                num_free -= application == unassigned.APPLICATION
                if num_free < 0:
                    failures[key] = UserError(
                        "application: must be given, because too much feedback "
                        f"({unassigned.MAX_UNASSIGNED}) waits for its request already"
                    )
                    continue
            partitions[LogKind.of(record), record.application, record.date][key] = record
        for partition in partitions.values():
            failures |= self._append_partition(partition)
        return failures

    def _append_partition(self, records: Mapping[bytes, Record]) -> dict[bytes, Exception]:
        first = next(iter(records.values()))
        writer = self._writers[LogKind.of(first)]
        if isinstance(first, Feedback) and first.application == unassigned.APPLICATION:
            writer = self._unassigned_writer
        try:
            writer.append(records.values())
        except OSError as error:
            return dict.fromkeys(records, error)
        except UserError as error:
            return self._append_cleanable(records) or dict.fromkeys(records, error)
        for key, record in records.items():
            self._remember(key, record)
            if record.application != unassigned.APPLICATION:
                self._on_accepted(record)
        return {}

    def _append_cleanable(self, records: Mapping[bytes, Record]) -> dict[bytes, Exception]:
        """Write the records that can be cleaned; return why the others cannot, if there are any."""
        failures: dict[bytes, Exception] = {}
        for key, record in records.items():
            try:
                self._scrub(record)
            except UserError as error:
                failures[key] = error
        rest = {key: record for key, record in records.items() if key not in failures}
        return failures | (self._append_partition(rest) if failures and rest else {})

    def _remember(self, key: bytes, record: Record) -> None:
        self._known.add(record, key)
        if isinstance(record, Interaction):
            if self._num_pending and LogKind.of(record) is LogKind.INTERACTIONS:
                ids = map(self._scrub.pseudonym, (record.request_id, *record.aliases))
                self._has_arrived |= any(request_id in self._num_pending for request_id in ids)
        elif record.application == unassigned.APPLICATION:
            assert record.request_id is not None
            self._num_pending[self._scrub.pseudonym(record.request_id)] += 1

    def _application(self, feedback: Feedback) -> str | None:
        assert feedback.request_id is not None
        return self._known.application_of(feedback.request_id)

    def _assign(self) -> None:
        """Move the feedback whose request has arrived to its application.

        What the disk refuses is tried again with the next group; it is safe where it is.
        """
        if not self._has_arrived and not self._moved:
            return
        arrived: dict[bytes, Record] = {}
        for feedback in unassigned.read(self._home):
            application = self._application(feedback)
            if application is not None and feedback.feedback_id not in self._moved:
                key = self._known.key_of(feedback)
                arrived[key] = replace(feedback, application=application)
        failures = self._append(arrived)
        moved = [record for key, record in arrived.items() if key not in failures]
        for feedback in moved:
            assert isinstance(feedback, Feedback)
            assert feedback.request_id is not None
            self._moved.add(feedback.feedback_id)
            self._num_pending[feedback.request_id] -= 1
            if self._num_pending[feedback.request_id] <= 0:
                del self._num_pending[feedback.request_id]
        self._has_arrived = any(isinstance(error, OSError) for error in failures.values())
        if failures:
            _LOG.warning("%d feedback could not be moved to its application", len(failures))
        try:
            unassigned.remove(self._home, self._moved)
            self._moved.clear()
        except OSError as error:
            _LOG.warning("moved feedback could not be removed: %s", error.strerror)
