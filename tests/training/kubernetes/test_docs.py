import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.training.kubernetes.manifests import REQUIRED, a_config

ROOT = Path(__file__).parents[3]


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_every_key_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "kubernetes-training.md").read_text()
    table = text.partition("## Keys")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .*\|$", table, re.MULTILINE))
    expected = dict(leaves(a_config().model_dump(mode="json")))
    required = dict(leaves(REQUIRED))
    assert shown.keys() == expected.keys()
    for key, default in shown.items():
        if key in required:
            assert default == "required"
        else:
            assert json.loads(default.strip("`")) == expected[key], key


def test_the_variables_and_files_that_are_named_exist() -> None:
    text = (ROOT / "docs" / "kubernetes-training.md").read_text()
    trainer = (ROOT / "llm_assets" / "resources" / "trainer.py").read_text()
    for name in re.findall(r"^\| `(LLM_ASSETS_[A-Z_]+)` \|", text, re.MULTILINE):
        assert f'"{name}"' in trainer
    for link in re.findall(r"\]\(\.\./([^)]+)\)", text):
        assert (ROOT / link).exists(), link
