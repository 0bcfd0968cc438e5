"""Reading log files of other systems into the collector's log.

What cannot be read is listed by file, line, and reason and keeps nothing else from being read.
Every record is written once: ids that the log already holds are counted as duplicates.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydantic

from llm_assets.errors import UserError
from llm_assets.feedback.formats import read_record
from llm_assets.feedback.log import BadLine, Log, LogWriter, Record
from llm_assets.records import Feedback, Interaction, first_problem
from llm_assets.storage import Partition

_BATCH = 1000


@dataclass
class IngestReport:
    """What became of the lines of the files."""

    num_accepted: int = 0
    num_duplicates: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    partitions: set[Partition] = field(default_factory=set)


def ingest(
    files: Sequence[Path], *, application: str, home: Path, format_name: str | None = None
) -> IngestReport:
    """Read the files into the log and return what became of their lines.

    Raises:
        UserError: a file cannot be opened; files before it were read.
    """
    report = IngestReport()
    known = _KnownIds(home)
    writers = {
        Interaction: LogWriter(Log.interactions(home)),
        Feedback: LogWriter(Log.feedback(home)),
    }
    batch: list[Record] = []

    def write() -> None:
        for kind, writer in writers.items():
            writer.append([record for record in batch if type(record) is kind])
        report.num_accepted += len(batch)
        batch.clear()

    for file in files:
        for record in _records(file, application, format_name, report.bad_lines):
            report.partitions.add(Partition(application=application, date=record.date))
            if known.add(record):
                batch.append(record)
                if len(batch) >= _BATCH:
                    write()
            else:
                report.num_duplicates += 1
    write()
    return report


class _KnownIds:
    """The ids in the log, read a day at a time as days come up."""

    def __init__(self, home: Path) -> None:
        self._logs = {Interaction: Log.interactions(home), Feedback: Log.feedback(home)}
        # A cache of the method itself would keep every instance alive.
        self._ids_of = functools.cache(self._read_ids)

    def add(self, record: Record) -> bool:
        """Remember a record's id; return whether it is new."""
        partition = Partition(application=record.application, date=record.date)
        ids = self._ids_of(type(record), partition)
        is_new = record.record_id not in ids
        ids.add(record.record_id)
        return is_new

    def _read_ids(self, kind: type[Record], partition: Partition) -> set[str]:
        return {record.record_id for record in self._logs[kind].read(partition)[0]}


def _records(
    file: Path, application: str, format_name: str | None, bad_lines: list[BadLine]
) -> Iterator[Record]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield _record(line, application, format_name)
                except UserError as error:
                    bad_lines.append(BadLine(file=file, line=number, reason=str(error)))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _record(line: bytes, application: str, format_name: str | None) -> Record:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise UserError("is not a JSON object")
    try:
        return read_record(fields, application=application, format_name=format_name)
    except pydantic.ValidationError as error:
        raise UserError(first_problem(error)) from None
