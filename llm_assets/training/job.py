"""What a worker is told: one training job, kept as a JSON file."""

import json
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json
from llm_assets.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid", strict=True))
class TrainingJob:
    """The training of one adapter.

    Attributes:
        model_version: the version that the adapter makes.
        base_model_dir: what `prepare_hf` made of the base model.
        rows_file: Parquet or NDJSON with the columns of `rows.COLUMNS`.
        system_prompt: the first message of every conversation; None leaves it to the chat template.
        config: the hyperparameters.
        output_dir: where the adapter appears, whole or not at all; it must not exist yet.
    """

    model_version: str = pydantic.Field(min_length=1)
    base_model_dir: Path
    rows_file: Path
    system_prompt: str | None
    config: TrainingConfig
    output_dir: Path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a job file and check that what it names is there.

        Raises:
            UserError: the file is missing or damaged, breaks a rule, or names an input that does
                not exist or an output that does.
        """
        job = read_json(path, cls, missing="no such job file")
        if not (job.base_model_dir / "config.json").is_file():
            raise UserError(f"{path}: base_model_dir: no model in {job.base_model_dir}")
        if not job.rows_file.is_file():
            raise UserError(f"{path}: rows_file: no such file: {job.rows_file}")
        if job.output_dir.exists():
            raise UserError(
                f"{path}: output_dir: {job.output_dir} exists, adapters are not replaced"
            )
        return job

    def write(self, path: Path) -> None:
        """Write the job file, atomically."""
        write_json(path, self)

    @property
    def recipe(self) -> dict[str, Any]:
        """What a manifest keeps under `training`; with the rows and the base model it is enough."""
        return {
            "config": self.config.model_dump(mode="json"),
            "system_prompt": self.system_prompt,
        }


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class TrainingResult:
    """What a worker leaves beside the adapter: the content of `training.json`.

    Attributes:
        model_version: as in the job.
        recipe: as in the job.
        adapter_sha256: the hash of `adapter_model.safetensors`.
        library_versions: the libraries that decide what comes out.
        metrics: losses, counts and seconds for people. `validation_loss` and
            `validation_loss_before` are there only if the job had validation rows.
    """

    model_version: str
    recipe: dict[str, Any]
    adapter_sha256: str
    library_versions: dict[str, str]
    metrics: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the result from the folder of an adapter.

        Raises:
            UserError: the folder holds no adapter.
        """
        path = folder / "training.json"
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise UserError(f"{path}: no adapter was trained here") from None
