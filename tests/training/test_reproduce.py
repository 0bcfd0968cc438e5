from pathlib import Path
from typing import Any

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.manifest import ModelManifest
from llm_assets.training.reproduce import Reproduction, reproduce


@pytest.fixture
def base(tmp_path: Path) -> BaseModelFile:
    path = tmp_path / "base.gguf"
    path.write_bytes(b"GGUF")
    return BaseModelFile(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": None}, "is a base model without an adapter"),
        ({"base_model_sha256": "b0"}, "was made of the base model b0, got "),
        ({"dataset_sha256": "d0"}, "was made of the data set d0, got d1"),
        ({"training": {"config": {"r": 0}}}, "training.config: r: Input should be greater"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    base: BaseModelFile, tmp_path: Path, change: dict[str, Any], message: str
):
    fields: dict[str, Any] = {
        "model_version": "helpdesk-v0002",
        "application": "helpdesk",
        "base_model_sha256": base.sha256,
        "created_at": "2026-11-20T00:00:00Z",
        "code_version": "1",
        "dataset_sha256": "d1",
        "training": {"config": {}, "system_prompt": None},
        "adapter_sha256": "a1",
    }
    with pytest.raises(UserError, match=f"helpdesk-v0002: {message}"):
        reproduce(
            ModelManifest(**{**fields, **change}),
            base=base,
            cache=tmp_path,
            rows_file=tmp_path / "rows.parquet",
            dataset_sha256="d1",
        )


def test_a_reproduction_is_equal_only_if_the_hashes_are():
    fields: dict[str, Any] = {"model_version": "v", "changed_libraries": {}}
    assert Reproduction(expected_sha256="a", actual_sha256="a", **fields).is_equal
    assert not Reproduction(expected_sha256="a", actual_sha256="b", **fields).is_equal
