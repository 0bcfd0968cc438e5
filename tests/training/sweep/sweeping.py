"""A sweep of real trainings, in this process or in one that can be killed.

python -m tests.training.sweep.sweeping FOLDER
"""

import sys
from pathlib import Path

from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.sweep.result import Sweep
from llm_assets.training.sweep.run import run_sweep
from llm_assets.training.sweep.trial import train_quietly


def sweep_in(folder: Path) -> tuple[Sweep, dict[str, TrainingResult]]:
    """Sweep the job of a folder; return also what was trained for it, by the trial's folder."""
    trained: dict[str, TrainingResult] = {}

    def train(job: TrainingJob, job_file: Path) -> TrainingResult:
        trained[job.work_dir.name] = train_quietly(job, job_file)
        return trained[job.work_dir.name]

    sweep = run_sweep(
        TrainingJob.read(folder / "job.json"),
        folder / "sweep.json",
        dataset_sha256="d1",
        say=print,
        train=train,
    )
    return sweep, trained


if __name__ == "__main__":
    sweep_in(Path(sys.argv[1]))
