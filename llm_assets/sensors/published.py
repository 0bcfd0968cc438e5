"""What lies on disk and when it was put there, for thousands of days in a few milliseconds.

Sensors look every few seconds, so they list days without opening them, and read those that are new.
"""

import os
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

import polars as pl

from llm_assets.storage import MANIFEST, Partition, Table

_DAY = "date="


def published_at(table: Table, application: str) -> dict[date, int]:
    """Return when each day of an application was last published, in nanoseconds, oldest first."""
    times: dict[date, int] = {}
    for day, folder in _days(table.root, application):
        try:
            times[day] = os.stat(f"{folder}/{MANIFEST}").st_mtime_ns  # noqa: PTH116
        except FileNotFoundError:
            continue  # a folder whose first generation is being written
    return dict(sorted(times.items()))


def log_sizes(root: Path, application: str) -> dict[date, int]:
    """Return how many bytes the log of each day of an application holds, oldest first."""
    sizes: dict[date, int] = {}
    for day, folder in _days(root, application):
        with os.scandir(folder) as files:
            segments = [file for file in files if file.name.endswith(".ndjson")]
        sizes[day] = sum(segment.stat().st_size for segment in segments)
    return dict(sorted(sizes.items()))


def read_days(
    table: Table, application: str, days: Collection[date], *, schema: pl.Schema
) -> pl.DataFrame:
    """Return the rows of days with their `day`; columns that a file lacks are null."""
    partitions = [Partition(application=application, date=day) for day in days]
    rows = table.read_many(partitions, schema=schema, path_column="day")
    day = pl.col("day").str.extract(rf"{_DAY}(\d{{4}}-\d\d-\d\d)").str.to_date()
    return rows.with_columns(day)


def _days(root: Path, application: str) -> Iterator[tuple[date, str]]:
    try:
        folders = os.scandir(root / f"application={application}")
    except FileNotFoundError:
        return
    with folders:
        for folder in folders:
            if folder.name.startswith(_DAY):
                yield date.fromisoformat(folder.name.removeprefix(_DAY)), folder.path
