from pathlib import Path

import polars as pl
import pytest

from llm_assets.errors import UserError
from llm_assets.versioned_table import VersionedTable


def a_frame(*values: str) -> pl.DataFrame:
    return pl.DataFrame({"value": list(values), "list": [[value] for value in values]})


def test_each_tag_reads_what_was_written_under_it(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    table.write("v1", a_frame("b", "a"))
    table.write("v2", a_frame("c"))
    assert table.read("v1").equals(a_frame("b", "a"))
    assert table.read("v2").equals(a_frame("c"))
    assert table.tags() == ["v1", "v2"]


def test_writing_a_tag_again_moves_it(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    table.write("v1", a_frame("a"))
    table.write("v1", a_frame("b"))
    assert table.read("v1").equals(a_frame("b"))


def test_columns_may_change_from_one_version_to_the_next(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    table.write("v1", a_frame("a"))
    table.write("v2", pl.DataFrame({"other": [1.5]}))
    assert table.read("v1").equals(a_frame("a"))
    assert table.read("v2").columns == ["other"]


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    table.write("v1", a_frame("a").clear())
    assert table.read("v1").columns == ["value", "list"]


def test_an_unknown_tag_is_named(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    assert table.tags() == []
    with pytest.raises(UserError, match="nothing was written for 'v1'"):
        table.read("v1")
    table.write("v1", a_frame("a"))
    with pytest.raises(UserError, match="nothing was written for 'v2'"):
        table.read("v2")


def test_what_is_taken_away_is_gone_from_every_tag_and_from_the_disk(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    for tag, values in (("v1", "ab"), ("v2", "bc"), ("v2", "bcd"), ("v3", "b")):
        table.write(tag, a_frame(*values))
    lost = table.rewrite(lambda frame: frame.filter(pl.col("value") != "b"))
    assert lost == {"v1": 1, "v2": 1, "v3": 1}
    assert table.read("v1").equals(a_frame("a"))
    assert table.read("v2").equals(a_frame("c", "d"))
    assert table.read("v3").equals(a_frame("a").clear())
    assert len(list(tmp_path.glob("rows.lance/data/*"))) == 2
    assert len(list(tmp_path.glob("rows.lance/_versions/*.manifest"))) == 3
    table.write("v4", a_frame("e"))
    assert table.read("v1").equals(a_frame("a"))


def test_a_table_that_nothing_was_tagged_in_is_gone_altogether(tmp_path: Path) -> None:
    table = VersionedTable(tmp_path, "rows")
    assert table.rewrite(lambda frame: frame) == {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lancedb.table.Tags.create", _killed)
        with pytest.raises(KeyboardInterrupt):
            table.write("v1", a_frame("a"))
    assert table.rewrite(lambda frame: frame) == {}
    assert not (tmp_path / "rows.lance").exists()


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
