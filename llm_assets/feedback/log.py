"""The collector's log: accepted records, one JSON line each, on disk before they count.

    log/<kind>/application=<name>/date=<day>/<segment>.ndjson

A segment has one writer, which only appends. A line without its newline was torn by a crash and
never acknowledged, so readers pass over it.
"""

import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.records import Feedback, Interaction
from llm_assets.storage import Partition

Record = Interaction | Feedback

_SEGMENT_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that holds no valid record: where it stands, and the rule that it breaks."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Log:
    """One kind of record, e.g. all interactions; `record` is its class."""

    root: Path
    record: type[Interaction] | type[Feedback]

    @classmethod
    def interactions(cls, home: Path) -> "Log":
        """Return the log of interactions of an installation."""
        return cls(home / "log" / "interactions", Interaction)

    @classmethod
    def feedback(cls, home: Path) -> "Log":
        """Return the log of feedback of an installation."""
        return cls(home / "log" / "feedback", Feedback)

    def partitions(self) -> list[Partition]:
        """Return every application and day that has records, in that order."""
        return sorted(
            (
                Partition(
                    application=folder.parent.name.removeprefix("application="),
                    date=date.fromisoformat(folder.name.removeprefix("date=")),
                )
                for folder in self.root.glob("application=*/date=*")
            ),
            key=lambda partition: (partition.application, partition.date),
        )

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
            for number, line in _complete_lines(segment):
                try:
                    records.append(self.record.from_json(line))
                except UserError as error:
                    bad.append(BadLine(file=segment, line=number, reason=str(error)))
        return records, bad


class LogWriter:
    """Appends records to segments of its own; `append` returns when they are on disk."""

    def __init__(self, log: Log) -> None:
        self._log = log
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
        for record in records:
            partition = Partition(application=record.application, date=record.date)
            lines[partition].append(record.to_json() + b"\n")
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


def _complete_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and line.strip():
                yield number, line
