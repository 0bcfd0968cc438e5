"""Our training, bare: the loop's steps without checkpoints, reports, and a supervisor.

    python benchmarks/training_with_ours.py JOB FOLDER

Counted are the steps and what the frozen layers make of the rows; the adapter lies in the folder.
"""

import os
import warnings
from pathlib import Path

from training_cost import Cost, Usage, main

from llm_assets.training.job import TrainingJob
from llm_assets.training.plan import plan
from llm_assets.training.processes import Rank
from llm_assets.training.progress import StepReport
from llm_assets.training.rows import read_rows
from llm_assets.training.work_folder import clear


class _Stopwatch:
    """Hears what is prepared, and when."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Usage]] = []

    def say(self, text: str) -> None:
        self.heard.append((text, Usage.now()))

    def step(self, report: StepReport) -> None: ...

    def finish(self, metrics: dict[str, float]) -> None: ...

    def frozen(self) -> Usage:
        """Return what the states of the frozen layers took."""
        for (text, begin), (_, end) in zip(self.heard, self.heard[1:], strict=False):
            if "frozen layers" in text:
                return end.since(begin)
        return Usage(0, 0)


def train(job_file: str, folder: Path) -> Cost:
    from llm_assets.training.engine import deepspeed_engine, trained
    from llm_assets.training.engine.base import device_of
    from llm_assets.training.engine.checkpoints import Checkpoints, Progress
    from llm_assets.training.engine.setup import prepare, settle_torch

    warnings.filterwarnings("ignore")
    job, stopwatch = TrainingJob.read(Path(job_file)), _Stopwatch()
    rank = Rank(rank=0, local_rank=0, world_size=1, rendezvous="")
    os.environ.update(rank.environment())
    settle_torch(job.config)
    device = device_of(0)
    deepspeed_engine.start_group(rank, device)
    checkpoints = Checkpoints(job.work_dir)
    job.work_dir.mkdir(exist_ok=True)
    clear(job.work_dir)  # frozen states are computed anew
    rows = read_rows(job.rows_file, job.config)
    loop, data = prepare(
        job, rows, rank, stopwatch, checkpoints, Progress(fingerprint=""), device=device
    )
    batches = plan(len(data.train), job.config)
    begin = Usage.now()
    for number, batch in enumerate(batches, start=1):
        loss, _ = loop.step(number, batch, is_stopping=False)
        print(f"step {number}/{len(batches)}  loss {loss:.4f}", flush=True)
    steps, frozen = Usage.now().since(begin), stopwatch.frozen()
    trained.save(loop.engine.module, folder, job.config)
    seen = [example for batch in batches for example in loop.examples.of(batch)]
    return Cost(
        num_steps=len(batches),
        num_tokens=sum(example.num_tokens for example in seen),
        num_answer_tokens=sum(example.num_answer for example in seen),
        cpu_seconds=steps.cpu_seconds + frozen.cpu_seconds,
        wall_seconds=steps.wall_seconds + frozen.wall_seconds,
        frozen_cpu_seconds=frozen.cpu_seconds,
    )


if __name__ == "__main__":
    main(train)
