from pathlib import Path

import pytest

from llm_assets.demo.home import prepare_home
from llm_assets.errors import UserError


def files(folder: Path) -> dict[str, str]:
    """Return what lies in a folder by the path inside it."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size
    }


def fill(home: Path) -> dict[str, str]:
    """Leave what a run leaves, and return it."""
    for name in (
        "log/interactions/a.ndjson",
        "registry/helpdesk.json",
        "models/helpdesk-v0002/manifest.json",
        "models/base/0123/Q8_0.gguf",
        ".hidden",
    ):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return files(home)


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_home_is_taken(tmp_path: Path, exists: bool) -> None:
    home = tmp_path / "home"
    if exists:
        home.mkdir()
    assert prepare_home(home) is None
    assert files(home) == {}


def test_what_a_demo_left_is_moved_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    before = fill(tmp_path)
    archive = prepare_home(tmp_path)
    assert archive is not None
    assert archive.parent == tmp_path / "archive"
    # The prepared base model stays: it is slow to make and the same for every run.
    base = {"models/base/0123/Q8_0.gguf": before.pop("models/base/0123/Q8_0.gguf")}
    assert files(archive) == before
    left = {path: text for path, text in files(tmp_path).items() if not path.startswith("archive")}
    assert left == base


def test_every_run_has_an_archive_of_its_own(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    archives = set()
    for _ in range(3):
        fill(tmp_path)
        archives.add(prepare_home(tmp_path))
    assert len(archives) == 3
    assert None not in archives
    assert prepare_home(tmp_path) is None


def test_data_that_no_demo_made_is_refused_and_left_alone(tmp_path: Path) -> None:
    before = fill(tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path}: holds data that the demo did not make"):
        prepare_home(tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["models/base/0123/Q8_0.gguf", "archive/thesis.txt"])
def test_what_lies_in_a_folder_that_stays_is_not_touched(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    prepare_home(tmp_path)
    assert files(tmp_path) == {name: "precious"}


def test_model_versions_alone_are_somebodys_data_too(tmp_path: Path) -> None:
    manifest = tmp_path / "models" / "helpdesk-v0002" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    with pytest.raises(UserError, match="holds data that the demo did not make"):
        prepare_home(tmp_path)
    assert manifest.exists()


def test_model_versions_alone_are_moved_aside_as_well(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    manifest = tmp_path / "models" / "helpdesk-v0002" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    archive = prepare_home(tmp_path)
    assert archive is not None
    assert (archive / "models" / "helpdesk-v0002" / "manifest.json").exists()
    assert not manifest.exists()
