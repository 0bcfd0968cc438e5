from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.serving.spec import ModelServerSpec, Ready


def test_a_spec_survives_its_file(spec: ModelServerSpec, tmp_path: Path) -> None:
    spec = replace(spec, adapter=tmp_path / "adapter.gguf", port=8000)
    spec.write(tmp_path / "spec.json")
    assert ModelServerSpec.read(tmp_path / "spec.json") == spec


def test_a_damaged_spec_names_file_and_key(spec: ModelServerSpec, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    spec.write(path)
    path.write_text(path.read_text().replace('"port": 0', '"port": 70000'))
    with pytest.raises(UserError, match=r"spec\.json: port: .*65535, got 70000"):
        ModelServerSpec.read(path)


def test_a_missing_spec_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        ModelServerSpec.read(tmp_path / "absent.json")


def test_ready_is_none_until_written(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    assert Ready.read(path) is None
    ready = Ready(model_version="helpdesk-v0001", port=1234, pid=5)
    ready.write(path)
    assert Ready.read(path) == ready
