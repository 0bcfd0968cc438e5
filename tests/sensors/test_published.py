import os
from datetime import date
from pathlib import Path

import polars as pl

from llm_assets.feedback.log import Log, LogWriter
from llm_assets.sensors.published import log_sizes, published_at, read_days
from llm_assets.storage import Partition, Table
from tests.records import TIME, an_interaction

SCHEMA = pl.Schema({"n": pl.Int64, "label": pl.String})
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)


def write(table: Table, day: date, **columns: object) -> None:
    table.write(Partition(application="helpdesk", date=day), pl.DataFrame(columns))


def test_days_are_listed_with_the_time_of_their_manifest(tmp_path: Path) -> None:
    table = Table(tmp_path)
    assert published_at(table, "helpdesk") == {}
    write(table, SECOND, n=[2])
    write(table, FIRST, n=[1])
    (tmp_path / "application=helpdesk" / "date=2026-03-03").mkdir()
    before = published_at(table, "helpdesk")
    assert list(before) == table.dates("helpdesk") == [FIRST, SECOND]
    manifest = tmp_path / "application=helpdesk" / "date=2026-03-01" / "_manifest.json"
    os.utime(manifest, ns=(1, 1))
    assert published_at(table, "helpdesk") == {FIRST: 1, SECOND: before[SECOND]}
    assert published_at(table, "bank") == {}


def test_rows_of_days_know_their_day_and_lack_no_column(tmp_path: Path) -> None:
    table = Table(tmp_path)
    write(table, FIRST, n=[1, 2], label=["a", "b"], other=[0, 0])
    write(table, SECOND, n=[3])
    rows = read_days(table, "helpdesk", [FIRST, SECOND, date(2026, 3, 3)], schema=SCHEMA)
    assert rows.select("n", "label", "day").rows() == [
        (1, "a", FIRST),
        (2, "b", FIRST),
        (3, None, SECOND),
    ]
    assert read_days(table, "helpdesk", [SECOND], schema=SCHEMA)["n"].to_list() == [3]
    nothing = read_days(table, "helpdesk", [], schema=SCHEMA)
    assert nothing.schema == rows.schema
    assert nothing.is_empty()


def test_the_size_of_a_log_is_that_of_its_segments(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    assert log_sizes(log.root, "helpdesk") == {}
    for number in range(2):
        writer = LogWriter(log, lambda record: record)
        writer.append([an_interaction(f"r{number}")])
    partition = Partition(application="helpdesk", date=TIME.date())
    (log.root / partition.path / "notes.txt").write_text("no segment")
    assert len(log.segments(partition)) == 2
    assert log_sizes(log.root, "helpdesk") == {TIME.date(): log.size_bytes(partition)}
