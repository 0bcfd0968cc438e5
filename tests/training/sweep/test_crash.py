"""A sweep of real trainings: killed in the middle and run again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_assets.training.job import RESULT, TrainingResult
from tests.training.conftest import MakeJob
from tests.training.sweep.sweeping import sweep_in

# The last trial has more layers than the model and cannot be trained; the seed makes it the last.
SWEEP = {
    "num_trials": 3,
    "max_steps": 18,
    "space": {"learning_rate": [0.004], "num_top_layers": [2, 9]},
}


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.chaos
def test_kill_9_in_the_middle_trains_no_trial_twice(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(max_steps=6, seed=1, sweep=SWEEP)
    job.write(tmp_path / "job.json")
    first, second, third = (job.work_dir / "sweep" / f"trial-0{n}-rung-1" for n in range(3))
    command = [sys.executable, "-m", "tests.training.sweep.sweeping", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _wait_until((second / "lock").exists)
        os.kill(process.pid, signal.SIGKILL)
    assert first.with_suffix(".json").exists()
    assert not third.exists()
    # Its worker lives on to the end of what it has begun.
    _wait_until((second / "weights" / RESULT).exists)
    begun = TrainingResult.read(second / "weights")

    sweep, trained = sweep_in(tmp_path)

    assert trained == {second.name: begun}
    losses = [trial.losses for trial in sweep.trials]
    assert [len(of_trial) for of_trial in losses] == [1, 1, 0]
    assert losses[0] != losses[1]
    refusal = sweep.trials[2].refusal
    assert refusal == "training.num_top_layers must be at most the model's 4 layers, got 9"
    assert sweep.best == min(sweep.trials[:2], key=lambda trial: trial.losses)
    assert not (job.work_dir / "sweep").exists()
