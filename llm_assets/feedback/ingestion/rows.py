"""Lines of a log to rows of ours: read by their format, cleaned, and encoded for the log."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from llm_assets.errors import UserError
from llm_assets.feedback.formats import read_line
from llm_assets.feedback.ingestion.quarantine import Quarantined, quarantined
from llm_assets.feedback.ingestion.units import Chunk, Problem
from llm_assets.feedback.log import LogKind, Record, Scrub

_PLACEHOLDER = re.compile(rb"<[A-Z_]+_[0-9]")


class Day(NamedTuple):
    """A log and a UTC day."""

    kind: LogKind
    date: date


class Row(NamedTuple):
    """A cleaned record as a line of the log, and 16 bytes of the hash of its id."""

    line: bytes
    digest: bytes


class Unclean(NamedTuple):
    """A record that holds personal data still."""

    number: int
    record: Record


@dataclass
class Rows:
    """What some lines held."""

    by_day: dict[Day, list[Row]] = field(default_factory=dict)
    unclean: list[Unclean] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    num_passed_over: int = 0

    def add(self, record: Record) -> None:
        """Add a clean record."""
        day = Day(LogKind.of(record), record.date)
        row = Row(record.to_json() + b"\n", digest_of(record.record_id))
        self.by_day.setdefault(day, []).append(row)


def digest_of(record_id: str) -> bytes:
    """Return what an id is known by; two of a billion are the same with a chance of 1e-21."""
    return hashlib.blake2b(record_id.encode(), digest_size=16).digest()


class RowReader:
    """Reads lines in any process.

    Records without personal data come as rows. The others are left to `clean`: the placeholders
    of a session are numbered in the order of the file, so one process has to number them all.
    """

    def __init__(
        self, application: str, format_name: str | None, make_scrub: Callable[[], Scrub]
    ) -> None:
        self._application = application
        self._format_name = format_name
        self._scrub = make_scrub()

    def read(self, chunk: Chunk) -> Rows:
        """Return what the lines held."""
        rows = Rows()
        if isinstance(chunk, Problem):
            rows.quarantined.append(Quarantined(chunk.number, chunk.reason, None))
            return rows
        for number, line in enumerate(chunk.content.split(b"\n"), start=chunk.number):
            if line and not line.isspace():
                self._read_unit(rows, number, line)
        return rows

    def clean(self, rows: Rows) -> None:
        """Clean what is unclean; what cannot be cleaned goes to the quarantine without its text."""
        for number, record in rows.unclean:
            try:
                rows.add(self._scrub(record))
            except UserError as error:
                rows.quarantined.append(Quarantined(number, str(error), None))
        rows.unclean.clear()

    def _read_unit(self, rows: Rows, number: int, line: bytes) -> None:
        try:
            records, problems, num_passed_over = read_line(
                line, application=self._application, format_name=self._format_name
            )
        except UserError as error:
            rows.quarantined.append(self._quarantined(number, str(error), line))
            return
        rows.num_passed_over += num_passed_over
        rows.quarantined += [self._quarantined(number, problem, line) for problem in problems]
        is_numbered = b"<" in line and _PLACEHOLDER.search(line) is not None
        for record in records:
            try:
                is_clean = self._scrub(record) is record
            except UserError as error:
                rows.quarantined.append(Quarantined(number, str(error), None))
                continue
            if is_clean and not is_numbered:
                rows.add(record)
            else:
                rows.unclean.append(Unclean(number, record))

    def _quarantined(self, number: int, reason: str, line: bytes) -> Quarantined:
        return quarantined(number, reason, line, scrub=self._scrub, application=self._application)
