"""What the collector remembers of everything it has: the ids, as short digests."""

import hashlib
from collections.abc import Callable, Iterable

from llm_assets.feedback.log import Log, LogKind, Record
from llm_assets.records import Feedback, interaction_id

_KINDS = {LogKind.INTERACTIONS: b"r", LogKind.SHADOWS: b"s", LogKind.FEEDBACK: b"f"}


class KnownIds:
    """The ids of interactions, each with its application and aliases, and those of feedback.

    Those of a shadow's answers are kept apart, because feedback speaks of what a user saw. An id is
    kept as 16 bytes of its hash; `pseudonym` returns an id as the log stores it. A million ids take
    100 MB of memory and 3 s of CPU to load.
    """

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._applications: list[str] = []
        self._ids: dict[bytes, int] = {}  # the number of its application by the digest of an id

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, key: bytes) -> bool:
        return key in self._ids

    def key_of(self, record: Record) -> bytes:
        """Return what a record is known by, also before it was cleaned."""
        if isinstance(record, Feedback):
            stored = self._pseudonym(record.feedback_id)
        else:
            stored = interaction_id(self._pseudonym(record.request_id), record.variant)
        return _digest(_KINDS[LogKind.of(record)], stored)

    def add(self, record: Record, key: bytes) -> None:
        """Remember a record."""
        aliases = () if isinstance(record, Feedback) else map(self._pseudonym, record.aliases)
        self._add(LogKind.of(record), key, aliases, self._number(record.application))

    def application_of(self, request_id: str) -> str | None:
        """Return whose request an id or alias is."""
        stored = self._pseudonym(request_id)
        for kind in (b"r", b"a"):
            number = self._ids.get(_digest(kind, stored))
            if number is not None:
                return self._applications[number]
        return None

    def load(self, kind: LogKind, log: Log) -> None:
        """Remember what a log holds. Lines that cannot be read are passed over, as readers do."""
        for partition in log.partitions():
            number = self._number(partition.application)
            for ids in log.ids(partition):
                self._add(kind, _digest(_KINDS[kind], ids.record_id), ids.aliases, number)

    def _add(self, kind: LogKind, key: bytes, aliases: Iterable[str], number: int) -> None:
        self._ids[key] = number
        if kind is LogKind.INTERACTIONS:
            for alias in aliases:
                self._ids[_digest(b"a", alias)] = number

    def _number(self, application: str) -> int:
        if application not in self._applications:
            self._applications.append(application)
        return self._applications.index(application)


def _digest(kind: bytes, stored_id: str) -> bytes:
    # JSON may hold half of a surrogate pair, which is no text in UTF-8.
    content = stored_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16, person=kind).digest()
