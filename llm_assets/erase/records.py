"""The stores that hold records by application and day: the logs, and the tables made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson
import polars as pl

from llm_assets.erasures import Traces
from llm_assets.feedback import unassigned
from llm_assets.feedback.erasure import (
    FEEDBACK_COLUMNS,
    INTERACTION_COLUMNS,
    is_kept,
    is_theirs,
    mentions,
)
from llm_assets.feedback.log import Log, Record
from llm_assets.installation import Installation
from llm_assets.records import Interaction
from llm_assets.storage import Partition, Table

Frames = Iterator[tuple[Partition, pl.DataFrame]]


class RecordStore(Protocol):
    """A place that keeps interactions or feedback, or rows made of one kind of them."""

    @property
    def name(self) -> str:
        """What counts are given under, e.g. `tables/feedback_logs`."""
        ...

    @property
    def is_feedback(self) -> bool:
        """Whether the rows are feedback; they are interactions otherwise."""
        ...

    def frames(self) -> Frames:
        """Yield what leads to a user, a piece at a time, of all that is on disk."""
        ...

    def count(self, traces: Traces, application: str | None) -> Mapping[Partition, int]:
        """Return how many rows of each partition are the user's."""
        ...

    def remove(self, traces: Traces, application: str | None) -> None:
        """Remove the user's rows, and what is left of earlier states."""
        ...


@dataclass(frozen=True)
class LogStore:
    """A log: its segments are rewritten while writers wait."""

    name: str
    log: Log

    @property
    def is_feedback(self) -> bool:
        """Whether the log holds feedback."""
        return self.log.record is not Interaction

    def frames(self) -> Frames:
        """Yield the records of each segment without checking the rest of them."""
        for partition in self.log.partitions():
            for segment in self.log.segments(partition):
                yield partition, _segment_frame(segment, is_feedback=self.is_feedback)

    def count(self, traces: Traces, application: str | None) -> Mapping[Partition, int]:
        """Return how many records of each partition are the user's."""
        return _sums(
            (partition, int(is_theirs(frame, traces).sum()))
            for partition, frame in self.frames()
            if is_selected(partition, application)
        )

    def remove(self, traces: Traces, application: str | None) -> None:
        """Remove the user's records; lines that are no record go if they mention the user."""

        def stays(record: Record) -> bool:
            partition = Partition(application=record.application, date=record.date)
            return not is_selected(partition, application) or is_kept(record, traces)

        if self.log.root.exists():
            self.log.rewrite(stays, is_unreadable_kept=lambda line: not mentions(line, traces))


@dataclass(frozen=True)
class TableStore:
    """A table by application and day: each partition gets a new generation, the others go."""

    name: str
    table: Table
    columns: Sequence[str]

    @property
    def is_feedback(self) -> bool:
        """Whether the rows are feedback."""
        return "feedback_id" in self.columns

    def frames(self) -> Frames:
        """Yield every generation that is on disk, also what is no longer current."""
        for partition, frame in self._generations():
            yield partition, _conform(frame, is_feedback=self.is_feedback)

    def count(self, traces: Traces, application: str | None) -> Mapping[Partition, int]:
        """Return how many rows of a partition are the user's, in the generation with the most."""
        most: dict[Partition, int] = {}
        for partition, frame in self._generations():
            if is_selected(partition, application):
                num_rows = int(is_theirs(frame, traces).sum())
                most[partition] = max(num_rows, most.get(partition, 0))
        return {partition: num_rows for partition, num_rows in most.items() if num_rows}

    def remove(self, traces: Traces, application: str | None) -> None:
        """Publish new generations without the user's rows."""
        self.table.rewrite(
            lambda frame: frame.filter(~is_theirs(frame, traces)), application=application
        )

    def _generations(self) -> Frames:
        for partition in self.table.partitions():
            for file in self.table.files(partition):
                try:
                    yield partition, pl.read_parquet(file)
                except FileNotFoundError:
                    continue  # a newer generation has taken its place


def record_stores(home: Installation) -> list[RecordStore]:
    """Return the stores of an installation that keep records; the logs come first."""
    logs = [
        LogStore("log/interactions", home.interaction_log),
        LogStore("log/shadows", home.shadow_log),
        LogStore("log/feedback", home.feedback_log),
        LogStore("log/unassigned", unassigned.unassigned_log(home.home)),
    ]
    tables = []
    for folder in sorted((home.home / "tables").glob("*/")):
        files = sorted(folder.glob("application=*/date=*/*.parquet"))
        columns = pl.read_parquet_schema(files[-1]).keys() if files else ()
        if {"request_id", "feedback_id", "user_id"} & set(columns):
            tables.append(TableStore(f"tables/{folder.name}", Table(folder), tuple(columns)))
    return [*logs, *tables]


def is_selected(partition: Partition, application: str | None) -> bool:
    """Whether a partition is of the application, which None makes any of.

    Whose the unassigned feedback is nobody knows, so it always is.
    """
    return application is None or partition.application in (application, unassigned.APPLICATION)


def _segment_frame(segment: Path, *, is_feedback: bool) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    with segment.open("rb") as file:
        for line in file:
            try:
                fields = orjson.loads(line)
            except ValueError:
                continue  # torn by a crash or no record; `remove` looks at such lines as text
            if isinstance(fields, dict):
                rows.append(fields)
    wanted = FEEDBACK_COLUMNS if is_feedback else INTERACTION_COLUMNS
    return pl.DataFrame([_column(name, rows) for name in wanted])


def _column(name: str, rows: list[dict[str, Any]]) -> pl.Series:
    kind, dtype = (list, pl.List(pl.String)) if name == "aliases" else (str, pl.String)
    values = [row.get(name) for row in rows]
    return pl.Series(name, [v if isinstance(v, kind) else None for v in values], dtype=dtype)


def _conform(frame: pl.DataFrame, *, is_feedback: bool) -> pl.DataFrame:
    """Return the columns that finding a user needs; those that are missing are null."""
    wanted = FEEDBACK_COLUMNS if is_feedback else INTERACTION_COLUMNS
    types = {name: pl.List(pl.String) if name == "aliases" else pl.String for name in wanted}
    missing = [pl.lit(None, types[name]).alias(name) for name in wanted if name not in frame]
    return frame.with_columns(*missing).select(wanted)


def _sums(counts: Iterator[tuple[Partition, int]]) -> dict[Partition, int]:
    sums: dict[Partition, int] = {}
    for partition, num_rows in counts:
        if num_rows:
            sums[partition] = sums.get(partition, 0) + num_rows
    return sums
