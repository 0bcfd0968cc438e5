from pathlib import Path
from typing import Any

import polars as pl
import pytest

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import Dataset, curate
from llm_assets.curation.judged import JUDGED_SCHEMA
from llm_assets.curation.store import DatasetStore
from llm_assets.errors import UserError
from llm_assets.versioned_table import VersionedTable
from tests.curation.feedback import Log


def a_dataset(num_rows: int) -> Dataset:
    log = Log()
    for i in range(num_rows):
        log.asked_and_corrected(f"prompt {i} é", f"answer {i % 3}", days=i % 3)
    return curate(*log.tables, config=CurationConfig())


def test_a_dataset_is_read_back_with_its_hash_also_after_later_writes(tmp_path: Path) -> None:
    store, first, second = DatasetStore(tmp_path), a_dataset(20), a_dataset(30)
    store.write(first, model_version="helpdesk-v0002")
    store.write(second, model_version="helpdesk-v0003")
    for version, dataset in (("helpdesk-v0002", first), ("helpdesk-v0003", second)):
        read = store.read(version)
        assert read.rows.equals(dataset.rows)
        assert read.judged.equals(dataset.judged)
        assert read.sha256 == dataset.sha256
    assert store.model_versions("helpdesk") == ["helpdesk-v0002", "helpdesk-v0003"]


def test_a_dataset_from_before_there_were_judged_answers_is_read_without_any(
    tmp_path: Path,
) -> None:
    store, old, new = DatasetStore(tmp_path), a_dataset(20), a_dataset(30)
    VersionedTable(tmp_path, "curated_dataset_helpdesk").write("helpdesk-v0002", old.rows)
    for _ in range(2):
        read = store.read("helpdesk-v0002")
        assert read.rows.equals(old.rows)
        assert read.judged.schema == JUDGED_SCHEMA
        assert read.judged.is_empty()
        assert read.sha256 == Dataset(old.rows).sha256
        store.write(new, model_version="helpdesk-v0003")


def test_a_crash_while_writing_leaves_no_rows_without_their_judged_answers(tmp_path: Path) -> None:
    store, dataset = DatasetStore(tmp_path), a_dataset(20)
    write, tables = VersionedTable.write, list[str]()

    def killed(table: VersionedTable, *arguments: Any) -> int:
        tables.append(table.name)
        if len(tables) == 2:
            raise KeyboardInterrupt
        return write(table, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VersionedTable, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write(dataset, model_version="helpdesk-v0002")
    assert store.model_versions("helpdesk") == []
    store.write(dataset, model_version="helpdesk-v0002")
    assert store.read("helpdesk-v0002").judged.equals(dataset.judged)


def test_what_is_taken_out_is_taken_out_of_the_judged_answers_too(tmp_path: Path) -> None:
    store, dataset = DatasetStore(tmp_path), a_dataset(20)
    store.write(dataset, model_version="helpdesk-v0002")
    store.rewrite("helpdesk", lambda rows: rows.filter(pl.col("prompt") != "prompt 3 é"))
    read = store.read("helpdesk-v0002")
    assert (read.rows.height, read.judged.height) == (19, 38)
    assert "prompt 3 é" not in {*read.rows["prompt"], *read.judged["prompt"]}


def test_applications_have_tables_of_their_own(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    store.write(a_dataset(5), model_version="helpdesk-v0002")
    assert store.model_versions("other") == []
    with pytest.raises(UserError, match="nothing was written for 'other-v0002'"):
        store.read("other-v0002")


def test_a_dataset_without_rows_can_be_kept(tmp_path: Path) -> None:
    store, empty = DatasetStore(tmp_path), a_dataset(0)
    store.write(empty, model_version="helpdesk-v0002")
    assert store.read("helpdesk-v0002").sha256 == empty.sha256
