from pathlib import Path

import pytest

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import Dataset, curate
from llm_assets.curation.store import DatasetStore
from llm_assets.errors import UserError
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
        assert read.sha256 == dataset.sha256
    assert store.model_versions("helpdesk") == ["helpdesk-v0002", "helpdesk-v0003"]


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
