"""What an installation needs before anything can run: Dagster's home and a first model version."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from llm_assets.applications import made_for
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest, code_version, version_name
from llm_assets.settings import Settings

_DAGSTER_YAML = Path(__file__).parent.parent / "dagster.yaml"


def prepare_dagster_home(settings: Settings) -> Path:
    """Make Dagster's home and point this process and its children to it; return the folder.

    A DAGSTER_HOME that is set already is respected.
    """
    folder = Path(os.environ.setdefault("DAGSTER_HOME", str(settings.dagster_home)))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        shutil.copy(_DAGSTER_YAML, folder / "dagster.yaml")
    return folder


def register_base_models(installation: Installation, *, now: datetime | None = None) -> list[str]:
    """Make the base model the first version and champion of every application that has none.

    Returns the versions that were made.
    """
    time = now or datetime.now(UTC)
    made: list[str] = []
    for name, application in installation.applications().items():
        if installation.registry.champion(name) is not None:
            continue
        version = version_name(name, 1)
        ModelManifest(
            model_version=version,
            application=name,
            base_model_sha256=installation.base_model(name).sha256,
            created_at=time,
            code_version=code_version(),
            system_prompt_sha256=made_for(application).system_prompt_sha256,
            evaluation_sha256=made_for(application).evaluation_sha256,
        ).write(installation.model(version))
        reason = "the base model as it comes"
        installation.registry.register(name, version, time=time, reason=reason, run_id=None)
        installation.registry.promote(name, version, time=time, reason=reason, run_id=None)
        made.append(version)
    return made
