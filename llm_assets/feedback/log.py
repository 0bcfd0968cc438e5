"""The collector's log: accepted records, one JSON line each, on disk before they count.

    log/<kind>/application=<name>/date=<day>/<segment>.ndjson

Answers of a shadow, which no user saw, lie in a log of their own, so that nothing that is made of
what users got holds them.

A segment has one writer, which only appends. A line without its newline was torn by a crash and
never acknowledged, so readers pass over it. The writer is the only way to the disk, and it cleans
each record of personal data first. Who rewrites segments holds the log's lock alone meanwhile.
"""

import enum
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from llm_assets.errors import UserError
from llm_assets.records import SHADOW_VARIANT, Feedback, Interaction, interaction_id
from llm_assets.storage import Partition, locked, partitions_under, write_atomically

Record = Interaction | Feedback
Scrub = Callable[[Record], Record]

_SEGMENT_BYTES = 64 * 2**20
_LOCK = ".lock"


class LogKind(enum.StrEnum):
    """What records a log is for, by the name of its folder."""

    INTERACTIONS = "interactions"
    SHADOWS = "shadows"
    FEEDBACK = "feedback"

    @classmethod
    def of(cls, record: Record) -> "LogKind":
        """Return the kind of log that a record belongs in."""
        if isinstance(record, Feedback):
            return cls.FEEDBACK
        return cls.SHADOWS if record.variant == SHADOW_VARIANT else cls.INTERACTIONS


def complete_lines(segment: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a segment that were written whole, with their numbers."""
    with segment.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and line.strip():
                yield number, line


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that holds no valid record: where it stands, and the rule that it breaks."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class Ids(NamedTuple):
    """What a record is known by: its own id, and the aliases of an interaction."""

    record_id: str
    aliases: Sequence[str] = ()


class _InteractionIds(msgspec.Struct):
    request_id: str
    variant: str = ""
    aliases: list[str] = []


class _FeedbackIds(msgspec.Struct):
    feedback_id: str


@dataclass(frozen=True)
class Log:
    """One kind of record, e.g. all interactions; `record` is its class."""

    root: Path
    record: type[Interaction] | type[Feedback]

    @classmethod
    def of(cls, kind: LogKind, home: Path) -> "Log":
        """Return a log of an installation."""
        return cls(home / "log" / kind, Feedback if kind is LogKind.FEEDBACK else Interaction)

    @classmethod
    def interactions(cls, home: Path) -> "Log":
        """Return the log of interactions of an installation; it holds none of a shadow."""
        return cls.of(LogKind.INTERACTIONS, home)

    @classmethod
    def shadows(cls, home: Path) -> "Log":
        """Return the log of the answers that challengers gave as a shadow."""
        return cls.of(LogKind.SHADOWS, home)

    @classmethod
    def feedback(cls, home: Path) -> "Log":
        """Return the log of feedback of an installation."""
        return cls.of(LogKind.FEEDBACK, home)

    def partitions(self) -> list[Partition]:
        """Return every application and day that has records, in that order."""
        return partitions_under(self.root)

    def size_bytes(self, partition: Partition) -> int:
        """Return how much a partition holds; it only grows, so equal sizes mean no news."""
        return sum(segment.stat().st_size for segment in self.segments(partition))

    def segments(self, partition: Partition) -> list[Path]:
        """Return the files of a partition in order of their names."""
        return sorted((self.root / partition.path).glob("*.ndjson"))

    def read(self, partition: Partition) -> tuple[list[Record], list[BadLine]]:
        """Return the records of a partition in order of arrival, and what could not be read."""
        records: list[Record] = []
        bad: list[BadLine] = []
        for segment in self.segments(partition):
            for number, line in complete_lines(segment):
                try:
                    records.append(self.record.from_json(line))
                except UserError as error:
                    bad.append(BadLine(file=segment, line=number, reason=str(error)))
        return records, bad

    def ids(self, partition: Partition) -> Iterator[Ids]:
        """Yield the ids of a partition's records without checking the rest of them.

        Lines that cannot be read are passed over; `read` tells what is wrong with them.
        """
        is_interactions = self.record is Interaction
        decode = msgspec.json.Decoder(_InteractionIds if is_interactions else _FeedbackIds).decode
        for segment in self.segments(partition):
            for _, line in complete_lines(segment):
                try:
                    ids = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                if isinstance(ids, _InteractionIds):
                    yield Ids(interaction_id(ids.request_id, ids.variant), ids.aliases)
                else:
                    yield Ids(ids.feedback_id)

    def rewrite(
        self,
        is_kept: Callable[[Record], bool],
        *,
        is_unreadable_kept: Callable[[bytes], bool] = lambda _: True,
    ) -> dict[Partition, int]:
        """Remove records, whatever their partition, and return how many each partition lost.

        Lines that hold no valid record are kept unless told otherwise; what a crash tore is
        removed. Writers wait until this is done.
        """
        removed: dict[Partition, int] = {}

        def stays(line: bytes) -> bool:
            try:
                record = self.record.from_json(line)
            except UserError:
                return is_unreadable_kept(line)
            return is_kept(record)

        with locked(self.root / _LOCK, alone=True):
            for partition in self.partitions():
                for unfinished in (self.root / partition.path).glob(".*.ndjson.*"):
                    unfinished.unlink()
                for segment in self.segments(partition):
                    lines = [line for _, line in complete_lines(segment)]
                    kept = [line for line in lines if stays(line)]
                    # No writer is in the midst of a line now, so a torn one stays torn.
                    if sum(map(len, kept)) < segment.stat().st_size:
                        write_atomically(segment, b"".join(kept))
                    if len(kept) < len(lines):
                        lost = len(lines) - len(kept)
                        removed[partition] = removed.get(partition, 0) + lost
        return removed


class LogWriter:
    """Appends records to segments of its own; `append` returns when they are on disk.

    `scrub` cleans a record of personal data; what it raises leaves the log as it was.
    """

    def __init__(self, log: Log, scrub: Scrub) -> None:
        self._log = log
        self._scrub = scrub
        # Time order is not promised by the name; the process id and the random part make it unique.
        self._prefix = f"{os.getpid():08d}-{secrets.token_hex(4)}"
        self._segments: dict[Partition, Path] = {}
        self._num_segments = 0

    def append(self, records: Iterable[Record]) -> None:
        """Write the records and wait until they are on disk.

        Raises:
            OSError: the disk refused; no record of a partition that failed is in the log.
        """
        lines: dict[Partition, list[bytes]] = defaultdict(list)
        for record in map(self._scrub, records):
            partition = Partition(application=record.application, date=record.date)
            lines[partition].append(record.to_json() + b"\n")
        self.append_lines(lines)

    def append_lines(self, lines: Mapping[Partition, Sequence[bytes]]) -> None:
        """Write records that were cleaned and encoded in another process, each with its newline.

        Raises:
            OSError: as `append`.
        """
        with locked(self._log.root / _LOCK, alone=False):
            for partition, content in lines.items():
                _append_durably(self._segment(partition), b"".join(content))

    def _segment(self, partition: Partition) -> Path:
        segment = self._segments.get(partition)
        if segment is None or segment.stat().st_size >= _SEGMENT_BYTES:
            self._num_segments += 1
            folder = self._log.root / partition.path
            folder.mkdir(parents=True, exist_ok=True)
            segment = folder / f"{self._prefix}-{self._num_segments:06d}.ndjson"
            segment.touch(exist_ok=False)
            for parent in (folder, folder.parent, folder.parent.parent):
                _sync_folder(parent)
            self._segments[partition] = segment
        return segment


def _append_durably(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            if file.write(content) != len(content):
                raise OSError(28, "No space left on device", str(path))
            os.fsync(file.fileno())
        except OSError:
            # Half a record must not stay: the next append would complete it to nonsense.
            os.ftruncate(file.fileno(), before)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
