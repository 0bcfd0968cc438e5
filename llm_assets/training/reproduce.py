"""Making a model version again from its manifest, to prove what it was made of."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pydantic

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.manifest import ModelManifest
from llm_assets.records import first_problem
from llm_assets.training.base_model import prepare_hf
from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob
from llm_assets.training.launch import run_worker


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Whether the adapter that was made again has the bytes of the first one.

    `changed_libraries` maps a library to its version then and now; where it is not empty, or on
    another processor, different bytes are no surprise.
    """

    model_version: str
    expected_sha256: str
    actual_sha256: str
    changed_libraries: dict[str, tuple[str, str]]

    @property
    def is_equal(self) -> bool:
        """Whether the bytes are the same."""
        return self.expected_sha256 == self.actual_sha256


def reproduce(
    manifest: ModelManifest,
    *,
    base: BaseModelFile,
    cache: Path,
    rows_file: Path,
    dataset_sha256: str,
) -> Reproduction:
    """Train the adapter of a manifest again, in a temporary folder, and compare the bytes.

    Args:
        manifest: of the version; its `training` is the recipe of the job that made it.
        base: the base model as it is now.
        cache: the folder of prepared base models.
        rows_file: the rows of the manifest's data set, as the first training got them.
        dataset_sha256: the content hash of that data set, taken from its rows and not from the
            manifest.

    Raises:
        UserError: the version has no adapter, or the base model or the data set is another one.
    """
    version = manifest.model_version
    if manifest.training is None or manifest.adapter_sha256 is None:
        raise UserError(f"{version}: is a base model without an adapter, nothing was trained")
    _require_equal(version, "base model", manifest.base_model_sha256, base.sha256)
    _require_equal(version, "data set", manifest.dataset_sha256, dataset_sha256)
    try:
        config = TrainingConfig.model_validate_json(json.dumps(manifest.training.get("config")))
    except pydantic.ValidationError as error:
        raise UserError(f"{version}: training.config: {first_problem(error)}") from None
    base_model_dir = prepare_hf(base, cache)
    with tempfile.TemporaryDirectory(prefix="llm-assets-reproduce-") as folder:
        job = TrainingJob(
            work_dir=Path(folder) / "work",
            model_version=version,
            base_model_dir=base_model_dir,
            rows_file=rows_file,
            system_prompt=manifest.training.get("system_prompt"),
            config=config,
            output_dir=Path(folder) / "adapter",
        )
        result = run_worker(job, Path(folder) / "job.json")
    return Reproduction(
        model_version=version,
        expected_sha256=manifest.adapter_sha256,
        actual_sha256=result.weights_sha256,
        changed_libraries={
            name: (manifest.library_versions.get(name, "unknown"), now)
            for name, now in result.library_versions.items()
            if manifest.library_versions.get(name) != now
        },
    )


def _require_equal(model_version: str, name: str, expected: str | None, actual: str) -> None:
    if expected != actual:
        raise UserError(
            f"{model_version}: was made of the {name} {expected}, got {actual}: "
            "it cannot be reproduced from another one"
        )
