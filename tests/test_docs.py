"""What the documents say is true of the code."""

import json
import re
from pathlib import Path
from typing import Any

import pydantic
import pytest

from llm_assets.applications import Application

ROOT = Path(__file__).parent.parent


def keys(model: type[pydantic.BaseModel], prefix: str = "") -> dict[str, Any]:
    """Return every key of a configuration with its default, `...` where it is required."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            found |= keys(section, f"{prefix}{name}.")
        else:
            required = field.is_required()
            found[prefix + name] = ... if required else field.get_default(call_default_factory=True)
    return found


def _section(annotation: Any) -> type[pydantic.BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
            return candidate
    return None


def test_every_key_of_an_application_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "applications.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", text, re.MULTILINE)
    expected = keys(Application)
    del expected["name"]
    assert sorted(dict(rows)) == sorted(expected)
    for key, shown in rows:
        default = expected[key]
        if default is ...:
            assert shown == "required"
        elif not isinstance(default, list):
            assert json.loads(shown.strip("`")) == default


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)`", (ROOT / document).read_text()))
    assert named
    assert named <= targets


def test_every_link_between_documents_leads_to_a_file() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
