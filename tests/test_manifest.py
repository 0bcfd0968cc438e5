import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.manifest import (
    ModelManifest,
    application_of,
    code_version,
    next_version,
    version_name,
)

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


def a_manifest() -> ModelManifest:
    return ModelManifest(
        model_version="helpdesk-v0002",
        application="helpdesk",
        base_model_sha256="ab" * 32,
        created_at=datetime(2026, 5, 1, tzinfo=UTC),
        code_version="0.1.0+abc",
        training={"config": {"r": 16}, "system_prompt": None},
        seed=0,
        adapter_sha256="cd" * 32,
        library_versions={"torch": "2.13.0"},
        metrics={"train_loss": 0.5},
    )


def test_a_manifest_comes_back_from_its_folder(tmp_path: Path) -> None:
    a_manifest().write(tmp_path)
    assert ModelManifest.read(tmp_path) == a_manifest()


def test_a_manifest_from_before_it_said_what_for_is_read(tmp_path: Path) -> None:
    older = a_manifest().to_json()
    del older["system_prompt_sha256"], older["evaluation_sha256"]
    (tmp_path / "manifest.json").write_text(json.dumps(older))
    assert ModelManifest.read(tmp_path).system_prompt_sha256 is None


def test_a_version_without_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}/manifest.json: no such model version"):
        ModelManifest.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "first"}, "seed: "),
        ({"author": "me"}, "author: unknown key"),
        ({"application": None}, "application: "),
    ],
)
def test_a_damaged_manifest_is_named_with_its_key(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**a_manifest().to_json(), **change}))
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        ModelManifest.read(tmp_path)


def test_half_a_manifest_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"model_version":')
    with pytest.raises(UserError) as caught:
        ModelManifest.read(tmp_path)
    assert "\n" not in str(caught.value)


@given(NAMES, st.integers(1, 10**6))
def test_the_application_is_read_from_any_version_name(application: str, number: int) -> None:
    assert application_of(version_name(application, number)) == application


@given(NAMES, st.lists(st.integers(1, 20_000)))
def test_the_next_version_is_higher_than_all_of_its_application(
    application: str, numbers: list[int]
) -> None:
    existing = [version_name(application, number) for number in numbers]
    others = [version_name(f"{application}x", 30_000)]
    expected = version_name(application, max(numbers, default=0) + 1)
    assert next_version(application, existing + others) == expected


@pytest.mark.parametrize("name", ["", "helpdesk", "helpdesk-v1", "-v0001", "helpdesk-v0001x"])
def test_what_is_no_version_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="model version must look like 'helpdesk-v0001', got"):
        application_of(name)


def test_the_code_version_is_the_same_until_the_code_changes() -> None:
    assert code_version() == code_version()
    version, content = code_version().split("+")
    assert version.count(".") == 2
    assert len(content) == 12
