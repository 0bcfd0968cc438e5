"""Checkpoints: folders that are whole or not there, as safetensors and JSON.

Each is written aside, synced, and renamed, so whatever is killed whenever, the newest folder is the
last complete one. They hold whole tensors, so another number of processes can go on from them.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from llm_assets.json_file import read_json, write_json
from llm_assets.training.progress import StepReport
from llm_assets.training.work_folder import BEST, CHECKPOINTS

_STATE, _PROGRESS = "state.safetensors", "progress.json"
# The one before stays until the next is complete; an older one has no use.
_NUM_KEPT = 2


@dataclass(kw_only=True)
class Progress:
    """How far a training is, and what it has seen on the way."""

    fingerprint: str
    step: int = 0
    num_rows: int = 0
    num_tokens: int = 0
    num_answer_tokens: int = 0
    seconds: float = 0.0
    seconds_of_steps: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float = 0.0
    probe_loss_before: float | None = None
    num_attempts: int = 0
    reports: list[StepReport] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of a job, in its work folder."""

    def __init__(self, work_dir: Path) -> None:
        self._folder = work_dir / CHECKPOINTS
        self._best = work_dir / BEST

    def last(self, fingerprint: str) -> int:
        """Return the step of the last complete checkpoint of the same job, 0 without any."""
        for folder in reversed(self._complete()):
            progress = read_json(folder / _PROGRESS, Progress)
            if progress.fingerprint == fingerprint:
                return progress.step
        return 0

    def progress(self, step: int) -> Progress:
        """Return the progress at a checkpoint."""
        return read_json(self._path(step) / _PROGRESS, Progress)

    def load(self, step: int) -> dict[str, torch.Tensor]:
        """Return the tensors of a checkpoint, by name, on the CPU."""
        return _load(self._path(step) / _STATE)

    def save(self, state: Mapping[str, torch.Tensor], progress: Progress) -> None:
        """Write a checkpoint, and take away those that have no use any more."""
        final = self._path(progress.step)
        temporary = final.with_name(f".{final.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _save(state, temporary / _STATE)
        write_json(temporary / _PROGRESS, progress)
        _sync_folder(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _sync_folder(self._folder)
        for folder in self._complete()[:-_NUM_KEPT]:
            shutil.rmtree(folder)

    def save_best(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of the lowest validation loss so far."""
        temporary = self._best.with_suffix(".safetensors.tmp")
        _save(weights, temporary)
        temporary.replace(self._best)

    @property
    def has_best(self) -> bool:
        """Whether there was a validation."""
        return self._best.exists()

    def load_best(self) -> dict[str, torch.Tensor]:
        """Return the weights of the lowest validation loss."""
        return _load(self._best)

    def _complete(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"))

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:09d}"


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    _sync(path)


def _load(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _sync_folder(folder: Path) -> None:
    _sync(folder, *folder.iterdir())


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
