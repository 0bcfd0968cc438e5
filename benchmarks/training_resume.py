"""How long a training stands still when one of its processes is killed."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from training_data import BATCH_SIZE, Workplace

from llm_assets.training.launch import worker_command

_SAVE_STEPS = 5
_NUM_STEPS = 3 * _SAVE_STEPS
_KILL_STEP = 2 * _SAVE_STEPS - 1  # as far behind a checkpoint as can be


def measure_resume(workplace: Workplace) -> dict[str, float]:
    """Print the seconds from a kill to the first new step, and to where the killed one had been."""
    job = workplace.job(
        "helpdesk-resume",
        workplace.pairs("helpdesk"),
        max_steps=_NUM_STEPS,
        train_batch_size=BATCH_SIZE,
        eval_steps=_NUM_STEPS + 1,
        compute={"num_threads": 1, "save_steps": _SAVE_STEPS},
    )
    shutil.rmtree(job.output_dir, ignore_errors=True)
    shutil.rmtree(job.work_dir, ignore_errors=True)
    job_file = job.rows_file.with_name("job.json")
    job.write(job_file)
    with (
        job_file.with_name("log").open("w") as log,
        subprocess.Popen(
            worker_command(job_file), stdout=subprocess.PIPE, stderr=log, text=True
        ) as worker,
    ):
        assert worker.stdout is not None
        _wait_for(_KILL_STEP, worker.stdout)
        os.kill(_child_of(worker.pid), signal.SIGKILL)
        killed = time.monotonic()
        _wait_for(_SAVE_STEPS + 1, worker.stdout)
        first = time.monotonic() - killed
        _wait_for(_KILL_STEP + 1, worker.stdout)
        caught_up = time.monotonic() - killed
        worker.kill()
    print(f"\nkilled after step {_KILL_STEP}, the last checkpoint was after step {_SAVE_STEPS}")
    print(f"  to the first new step           {first:9.1f} s")
    print(f"  to the step after the killed one{caught_up:9.1f} s")
    return {"first_step_seconds": first, "caught_up_seconds": caught_up}


def _wait_for(step: int, lines: IO[str]) -> None:
    for line in lines:
        if line.startswith(f"step {step}/"):
            return
    raise RuntimeError(f"the worker ended before step {step}")


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
