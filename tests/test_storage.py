import json
import threading
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from llm_assets.storage import (
    MANIFEST,
    Generation,
    Partition,
    Table,
    sha256_of,
    write_atomically,
    write_json_atomically,
)

DAY = Partition(application="helpdesk", date=date(2026, 3, 1))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table")


def rows(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"number": numbers}, schema={"number": pl.Int64})


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [letter * 200_000 for letter in (b"a", b"b")]
    write_atomically(path, contents[0])
    is_done = threading.Event()

    def write() -> None:
        for number in range(60):
            write_atomically(path, contents[number % 2])
        is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = {path.read_bytes()}
    while not is_done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"before")
    with pytest.raises(TypeError):
        write_atomically(path, "text")  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_readable_by_others_and_its_json_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"
    write_json_atomically(path, {"b": 1, "a": [2]})
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().index('"a"') < path.read_text().index('"b"')


def test_what_was_written_is_read_through_the_manifest(table: Table) -> None:
    assert table.read(DAY) is None
    assert table.generation(DAY) is None
    generation = table.write(DAY, rows(1, 2), inputs=["segment"])
    assert generation == table.generation(DAY)
    assert (generation.num_rows, generation.inputs) == (2, ["segment"])
    folder = table.root / "application=helpdesk" / "date=2026-03-01"
    assert generation.sha256 == sha256_of(folder / generation.file)
    found = table.read(DAY)
    assert found is not None
    assert found.equals(rows(1, 2))


def test_the_same_rows_are_the_same_generation(table: Table) -> None:
    first = table.write(DAY, rows(1, 2))
    assert table.write(DAY, rows(1, 2)) == first
    assert table.write(DAY, rows(2, 1)).sha256 != first.sha256


def test_the_generation_before_the_current_one_is_kept_for_its_readers(table: Table) -> None:
    names = [table.write(DAY, rows(number)).file for number in range(4)]
    folder = table.root / DAY.path
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *names[-2:]}


def test_a_reader_in_a_loop_finds_a_whole_generation_each_time(table: Table) -> None:
    generations = [rows(*range(size)) for size in (1, 1000)]
    table.write(DAY, generations[0])
    is_done = threading.Event()

    def write() -> None:
        for number in range(40):
            table.write(DAY, generations[number % 2])
        is_done.set()

    writer = threading.Thread(target=write)
    writer.start()
    heights = set()
    while not is_done.is_set():
        found = table.read(DAY)
        assert found is not None
        heights.add(found.height)
    writer.join()
    assert heights <= {1, 1000}


def test_a_file_that_no_manifest_names_is_not_read(table: Table) -> None:
    table.write(DAY, rows(1))
    (table.root / DAY.path / "stray.parquet").write_bytes(b"half")
    other = table.root / "application=helpdesk" / "date=2026-03-02"
    other.mkdir()
    rows(7).write_parquet(other / "unpublished.parquet")
    found = table.read(DAY)
    assert found is not None
    assert found.equals(rows(1))
    assert table.dates("helpdesk") == [DAY.date]


def test_the_days_of_an_application_are_in_order_and_its_own(table: Table) -> None:
    for name, day in (("helpdesk", 3), ("helpdesk", 1), ("bank", 2)):
        table.write(Partition(application=name, date=date(2026, 3, day)), rows(day))
    assert table.dates("helpdesk") == [date(2026, 3, 1), date(2026, 3, 3)]
    assert table.dates("other") == []


def test_a_manifest_names_file_rows_hash_and_inputs(table: Table) -> None:
    table.write(DAY, rows(1), inputs=["a", "b"])
    folder = table.root / DAY.path
    fields = json.loads((folder / MANIFEST).read_text())
    assert set(fields) == {"file", "num_rows", "sha256", "inputs"}
    assert Generation.read(folder) == Generation(**fields)


def test_rows_are_taken_away_from_every_generation_and_leftover(table: Table) -> None:
    table.write(DAY, rows(1, 2, 3), inputs=["a"])
    table.write(DAY, rows(3, 2, 1), inputs=["b"])
    folder = table.root / DAY.path
    (folder / "killed.tmp").write_bytes(b"half")
    assert table.rewrite(lambda frame: frame.filter(pl.col("number") != 2)) == {DAY: 1}
    found, generation = table.read(DAY), table.generation(DAY)
    assert found is not None
    assert generation is not None
    assert found["number"].to_list() == [3, 1]
    assert (generation.num_rows, generation.inputs) == (2, ["b"])
    assert sorted(path.name for path in folder.iterdir()) == sorted([generation.file, MANIFEST])


def test_rows_of_another_application_are_not_taken_away(table: Table) -> None:
    other = Partition(application="bank", date=DAY.date)
    for partition in (DAY, other):
        table.write(partition, rows(1))
    assert table.rewrite(lambda frame: frame.clear(), application="helpdesk") == {DAY: 1}
    found = table.read(other)
    assert found is not None
    assert found.equals(rows(1))


def test_a_reader_meets_no_gap_while_rows_are_taken_away(table: Table) -> None:
    table.write(DAY, rows(*range(100)))
    is_done = threading.Event()

    def take_away() -> None:
        for number in range(100):
            table.rewrite(lambda frame, gone=number: frame.filter(pl.col("number") != gone))
        is_done.set()

    thread = threading.Thread(target=take_away)
    thread.start()
    while not is_done.is_set():
        assert table.read(DAY) is not None
    thread.join()
    found = table.read(DAY)
    assert found is not None
    assert found.is_empty()
