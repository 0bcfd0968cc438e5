"""What a sweep has found, as a file keeps it, and a training with the best of it."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json
from llm_assets.training.config import TrainingConfig
from llm_assets.training.sweep.config import with_hyperparameters
from llm_assets.training.sweep.halving import CONFIGURED, Rung


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Trial:
    """A combination of hyperparameters, and its validation loss in every rung that it finished.

    `refusal` says why it could not be trained in the rung after these, if it could not.
    """

    number: int
    hyperparameters: dict[str, Any]
    losses: list[float]
    refusal: str | None = None


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Sweep:
    """The trials of one sweep; the first of them is what was configured.

    Attributes:
        model_version: whose training it was made for.
        fingerprint: of the job with what was configured, and of its rows.
        dataset_sha256: the content hash of the dataset.
        config: the training section that was swept, without what it was computed with.
        num_validation_rows: how many rows the losses are of; of few they tell little.
        rungs: as they were planned.
        trials: all of them.
        best: the winner; its hyperparameters are what a training takes.
        num_steps: the steps that were planned for what was trained. A refusal and an early end
            take fewer.
        seconds: how long it took, over all its attempts.
    """

    model_version: str
    fingerprint: str
    dataset_sha256: str
    config: dict[str, Any]
    num_validation_rows: int
    rungs: list[Rung]
    trials: list[Trial]
    best: Trial
    num_steps: int
    seconds: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what a sweep has found.

        Raises:
            UserError: there is no such file, or it is damaged.
        """
        missing = "no such sweep: materialize hyperparameter_sweep first"
        return read_json(path, cls, missing=missing)

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, self)

    @property
    def sha256(self) -> str:
        """The hash of the content but for the seconds, which are never the same."""
        content = pydantic.TypeAdapter(type(self)).dump_python(
            self, mode="json", exclude={"seconds"}
        )
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def improvement(self) -> float:
        """How much lower the winner's loss is than that of what was configured, never below 0.

        Both are of the last rung of the winner. It is nan if that could not be trained there.
        """
        configured, place = self.trials[CONFIGURED].losses, len(self.best.losses) - 1
        return configured[place] - self.best.losses[place] if place < len(configured) else math.nan


def best_config(config: TrainingConfig, sweep_file: Path, dataset_sha256: str) -> TrainingConfig:
    """Return the configuration of a training: with the best hyperparameters where it has a sweep.

    Raises:
        UserError: it has one, and the file is missing, or of another dataset or configuration.
    """
    if config.sweep is None:
        return config
    sweep = Sweep.read(sweep_file)
    again = "materialize hyperparameter_sweep again"
    if sweep.dataset_sha256 != dataset_sha256:
        raise UserError(
            f"{sweep_file}: was made with the dataset {sweep.dataset_sha256}, "
            f"got {dataset_sha256}: {again}"
        )
    if sweep.config != swept(config):
        raise UserError(f"{sweep_file}: was made for another training section: {again}")
    return with_hyperparameters(config, sweep.best.hyperparameters)


def swept(config: TrainingConfig) -> dict[str, Any]:
    """Return the plain values of a configuration that decide what its sweep finds."""
    return config.model_dump(mode="json", exclude={"compute"})
