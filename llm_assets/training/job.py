"""What a worker is told: one training job, kept as a JSON file."""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json
from llm_assets.training.config import TrainingConfig
from llm_assets.training.progress import StepReport

RESULT = "training.json"
HISTORY = "history.json"


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid", strict=True))
class TrainingJob:
    """The training of one adapter, or of the weights themselves.

    Attributes:
        model_version: the version that comes of it.
        base_model_dir: what `prepare_hf` made of the base model.
        rows_file: Parquet or NDJSON with the columns that the method needs (see `rows`).
        system_prompt: the first message of every conversation; None leaves it to the chat template.
        config: the hyperparameters.
        output_dir: where the result appears, whole or not at all.
        work_dir: where checkpoints lie meanwhile; the same job goes on from the last one.
    """

    model_version: str = pydantic.Field(min_length=1)
    base_model_dir: Path
    rows_file: Path
    system_prompt: str | None
    config: TrainingConfig
    output_dir: Path
    work_dir: Path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a job file and check that what it names is there.

        Raises:
            UserError: the file is missing or damaged, breaks a rule, or names an input that does
                not exist.
        """
        job = read_json(path, cls, missing="no such job file")
        if not (job.base_model_dir / "config.json").is_file():
            raise UserError(f"{path}: base_model_dir: no model in {job.base_model_dir}")
        if not job.rows_file.is_file():
            raise UserError(f"{path}: rows_file: no such file: {job.rows_file}")
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

    def fingerprint(self, rows_sha256: str) -> str:
        """Return a hash of all that decides what is learnt: a checkpoint of another is no use.

        What it is computed with plays no part, so another number of processes may go on.
        """
        learnt = {
            "base_model": (self.base_model_dir / "config.json").read_text(),
            "base_model_dir": self.base_model_dir.parent.name,
            "rows": rows_sha256,
            "system_prompt": self.system_prompt,
            "config": self.config.model_dump(mode="json", exclude={"compute", "sweep"}),
        }
        return hashlib.sha256(json.dumps(learnt, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class TrainingResult:
    """What a worker leaves beside the weights: the content of `training.json`.

    Attributes:
        model_version: as in the job.
        recipe: as in the job.
        fingerprint: of the job and its rows.
        weights_sha256: the hash of the file of weights.
        library_versions: the libraries that decide what comes out.
        energy_source: what `energy_watt_hours` was measured or estimated by.
        metrics: losses, counts and seconds for people. `validation_loss` and
            `validation_loss_before` are there only if the job had validation rows.
    """

    model_version: str
    recipe: dict[str, Any]
    fingerprint: str
    weights_sha256: str
    library_versions: dict[str, str]
    energy_source: str
    metrics: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the result from the folder of a model version.

        Raises:
            UserError: nothing was trained there.
        """
        return read_json(folder / RESULT, cls, missing="nothing was trained here")


def read_history(folder: Path) -> list[StepReport]:
    """Return the steps that led to what lies in a folder, over all attempts.

    Raises:
        UserError: nothing was trained there.
    """
    return read_json(folder / HISTORY, list[StepReport], missing="nothing was trained here")
