"""One training of a sweep: in a folder of its own, which what it found outlives as a small file."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json
from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.kubernetes.explain import REFUSAL, last_word
from llm_assets.training.launch import worker_command
from llm_assets.training.supervisor import ProcessesDied

Train = Callable[[TrainingJob, Path], TrainingResult]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training of a sweep ended.

    `fingerprint` is of its job and its rows. `loss` is that of the validation rows, None if the
    training was refused, and `refusal` says why. `seconds_of_steps` are those of its steps alone.
    """

    fingerprint: str
    num_steps: int
    seconds: float
    seconds_of_steps: float = 0.0
    loss: float | None = None
    refusal: str | None = None


def run_trial(
    job: TrainingJob, folder: Path, *, fingerprint: str, train: Train, clock: Callable[[], float]
) -> Outcome:
    """Train a trial, or return what it found when it was trained before.

    Raises:
        ProcessesDied: as `train_quietly`; another try goes on from the last checkpoint.
    """
    file = folder.with_suffix(".json")
    if file.exists():
        kept = read_json(file, Outcome)
        if kept.fingerprint == fingerprint:
            return kept
    folder.mkdir(parents=True, exist_ok=True)
    own = replace(job, work_dir=folder, output_dir=folder / "weights")
    start = clock()
    found: dict[str, Any]
    try:
        metrics = train(own, folder / "job.json").metrics
        found = {
            "loss": metrics["validation_loss"],
            "seconds_of_steps": metrics["seconds_of_steps"],
        }
    except UserError as error:
        found = {"refusal": str(error)}
    outcome = Outcome(
        fingerprint=fingerprint,
        num_steps=job.config.max_steps,
        seconds=clock() - start,
        **found,
    )
    write_json(file, outcome)
    shutil.rmtree(folder)
    return outcome


def train_quietly(job: TrainingJob, job_file: Path) -> TrainingResult:
    """Train in a process of its own of whose steps nobody hears.

    If this process is told to stop meanwhile, the other writes a checkpoint first. If this one is
    killed, the other ends its training, and whoever tries it again waits for that.

    Raises:
        UserError: the worker refused the job.
        ProcessesDied: it ended in any other way.
    """
    job.write(job_file)
    with subprocess.Popen(
        worker_command(job_file),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as worker:
        try:
            _, errors = worker.communicate()
        except BaseException:
            worker.terminate()
            worker.wait()
            raise
    said = last_word(errors.splitlines())
    if worker.returncode == 1 and said.startswith(REFUSAL):
        raise UserError(said.removeprefix(REFUSAL))
    if worker.returncode != 0:
        raise ProcessesDied(f"the worker ended with exit code {worker.returncode}: {said}")
    return TrainingResult.read(job.output_dir)
