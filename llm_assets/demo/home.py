"""The demonstration's home: what an earlier one left is moved aside, never deleted."""

from datetime import UTC, datetime
from pathlib import Path

from llm_assets.errors import UserError

_MARKER = "made-by-the-demo"
# The prepared base model costs half a minute to make and depends on nothing in the run.
_KEPT = frozenset({"models", "archive"})


def prepare_home(home: Path) -> Path | None:
    """Make room for a run; return where an earlier run was moved, or None if there was none.

    Raises:
        UserError: the home holds data that no demonstration made.
    """
    home.mkdir(parents=True, exist_ok=True)
    found = [path for path in home.iterdir() if path.name not in {*_KEPT, _MARKER}]
    found += _versions(home)
    archive = None
    if found:
        if not (home / _MARKER).exists():
            raise UserError(
                f"{home}: holds data that the demo did not make; set LLM_ASSETS_HOME to an empty "
                f"folder"
            )
        archive = home / "archive" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        archive.mkdir(parents=True)
        for path in found:
            target = archive / path.relative_to(home)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    (home / _MARKER).touch()
    return archive


def _versions(home: Path) -> list[Path]:
    models = home / "models"
    return [path for path in models.iterdir() if path.name != "base"] if models.exists() else []
