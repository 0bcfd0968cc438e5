"""Reading log files of other systems into the collector's log.

What cannot be read goes to the quarantine and keeps nothing else from being read. Every record is
written once: ids that the log already holds are counted as duplicates. Memory does not grow with
the files, but for 16 bytes an id.
"""

import functools
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from llm_assets.errors import UserError
from llm_assets.feedback.ingestion.files import LogFile
from llm_assets.feedback.ingestion.ids_by_day import IdsByDay
from llm_assets.feedback.ingestion.quarantine import QuarantineFile, rule_of
from llm_assets.feedback.ingestion.report import IngestReport
from llm_assets.feedback.ingestion.rows import Day, RowReader, Rows, digest_of
from llm_assets.feedback.ingestion.units import Chunk, Problem, split
from llm_assets.feedback.ingestion.workers import Workers
from llm_assets.feedback.log import Log, LogKind, LogWriter, Record, Scrub
from llm_assets.storage import Partition

_BATCH_BYTES = 32 * 2**20
# Below, starting processes takes longer than reading.
_MIN_BYTES_FOR_PROCESSES = 16 * 2**20
_MAX_PROCESSES = 4


def ingest(
    files: Sequence[Path],
    *,
    application: str,
    home: Path,
    make_scrub: Callable[[], Scrub],
    format_name: str | None = None,
    on_read: Callable[[int], None] = lambda _: None,
) -> IngestReport:
    """Read files into the log and return what became of their units.

    What was read is written in batches of about 32 MiB; interrupted, it is completed by doing it
    again. `make_scrub` makes what cleans records; it is called in other processes too, so large
    files need one that can be pickled. `on_read` is told how many bytes of the files were read.

    Raises:
        OSError: the log or the quarantine could not be written.
    """
    started = time.monotonic()
    report = IngestReport()
    make_reader = functools.partial(RowReader, application, format_name, make_scrub)
    reader = make_reader()
    batch = _Batch(application, home, report)
    quarantine = _Quarantine(home / "quarantine" / f"application={application}", report)
    size_bytes = sum(file.stat().st_size for file in files)
    with _row_source(size_bytes, reader, make_reader) as rows_of, quarantine:
        for source, rows in rows_of(_chunks(files, on_read, report)):
            reader.clean(rows)
            quarantine.add(source, rows)
            report.num_passed_over += rows.num_passed_over
            batch.add(rows)
    batch.write()
    report.seconds = time.monotonic() - started
    return report


_Source = Callable[[Iterator[tuple[LogFile, Chunk]]], Iterator[tuple[LogFile, Rows]]]


@contextmanager
def _row_source(
    size_bytes: int, reader: RowReader, make_reader: Callable[[], RowReader]
) -> Iterator[_Source]:
    num_processes = min(len(os.sched_getaffinity(0)), _MAX_PROCESSES)
    if size_bytes < _MIN_BYTES_FOR_PROCESSES or num_processes == 1:
        yield lambda chunks: ((source, reader.read(chunk)) for source, chunk in chunks)
    else:
        with Workers(num_processes, make_reader) as workers:
            yield workers.map


def _chunks(
    files: Sequence[Path], on_read: Callable[[int], None], report: IngestReport
) -> Iterator[tuple[LogFile, Chunk]]:
    for path in files:
        source = LogFile(path, on_read)
        blocks = source.blocks()
        for chunk in split(blocks):
            if isinstance(chunk, Problem):
                report.damages.append(f"{path}:{chunk.number}: {chunk.reason}")
            yield source, chunk
        # A file that was given up before its end is hashed as a whole all the same.
        with suppress(UserError):
            deque(blocks, maxlen=0)


class _Quarantine:
    """The quarantines of the files, one after the other; a context that keeps whole ones only."""

    def __init__(self, folder: Path, report: IngestReport) -> None:
        self._folder = folder
        self._report = report
        self._source: LogFile | None = None
        self._file: QuarantineFile | None = None

    def __enter__(self) -> Self:
        return self

    def add(self, source: LogFile, rows: Rows) -> None:
        if source is not self._source:
            self._publish()
            self._source, self._file = source, QuarantineFile(self._folder, source.path)
        assert self._file
        self._file.add(rows.quarantined)
        for unit in rows.quarantined:
            self._report.count_reason(rule_of(unit.reason))

    def _publish(self) -> None:
        if self._source and self._file:
            published = self._file.publish(self._source.sha256)
            if published:
                self._report.quarantine_files.append(published)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._publish()
        elif self._file:
            self._file.discard()


class _Batch:
    """Rows that wait to be written together."""

    def __init__(self, application: str, home: Path, report: IngestReport) -> None:
        self._application = application
        self._report = report
        self._logs = {kind: Log.of(kind, home) for kind in LogKind}
        # The rows were cleaned already, so nothing that needs cleaning is appended here.
        self._writers = {kind: LogWriter(log, _refuse) for kind, log in self._logs.items()}
        self._known = IdsByDay(self._digests)
        self._lines: defaultdict[LogKind, defaultdict[Partition, list[bytes]]]
        self._lines = defaultdict(lambda: defaultdict(list))
        self._num_lines = 0
        self._num_bytes = 0

    def add(self, rows: Rows) -> None:
        for day, of_day in rows.by_day.items():
            self._report.dates.add(day.date)
            is_new = self._known.add(day, [row.digest for row in of_day])
            lines = [row.line for row, new in zip(of_day, is_new, strict=True) if new]
            self._report.num_duplicates += len(of_day) - len(lines)
            if lines:
                self._lines[day.kind][self._partition(day)] += lines
                self._num_lines += len(lines)
                self._num_bytes += sum(map(len, lines))
        if self._num_bytes >= _BATCH_BYTES:
            self.write()

    def write(self) -> None:
        for kind, lines in self._lines.items():
            self._writers[kind].append_lines(lines)
        self._report.num_accepted += self._num_lines
        self._lines.clear()
        self._num_lines = self._num_bytes = 0
        self._known.forget()

    def _partition(self, day: Day) -> Partition:
        return Partition(application=self._application, date=day.date)

    def _digests(self, day: Day) -> Iterator[bytes]:
        return (digest_of(ids.record_id) for ids in self._logs[day.kind].ids(self._partition(day)))


def _refuse(record: Record) -> Record:
    raise AssertionError(f"{type(record).__name__} was not cleaned")
