"""Whatever is killed at whatever step, the next attempt goes on and the training ends once."""

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob, TrainingResult, read_history
from llm_assets.training.launch import worker_command
from tests.training.conftest import small_job

_NUM_STEPS, _SAVE_STEPS = 60, 10
# Sums in another order differ in their last digits, and a training carries that on.
_TOLERANCE = 1e-4


def _config(job: TrainingJob, **compute: Any) -> TrainingConfig:
    settings = {"num_threads": 1, "per_device_train_batch_size": 4, "save_steps": _SAVE_STEPS}
    changed = job.config.compute.model_validate({**settings, **compute})
    return job.config.model_copy(update={"compute": changed})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_hf: Path) -> TrainingJob:
    folder = tmp_path_factory.mktemp("uninterrupted")
    job = small_job(folder, tiny_hf, max_steps=_NUM_STEPS, lora_dropout=0.1)
    job = replace(job, config=_config(job))
    job.write(folder / "job.json")
    subprocess.run(worker_command(folder / "job.json"), check=True, stdout=subprocess.PIPE)
    return job


@pytest.fixture
def job(uninterrupted: TrainingJob, tmp_path: Path) -> TrainingJob:
    """Return the same job again, in a place of its own."""
    return replace(uninterrupted, output_dir=tmp_path / "adapter", work_dir=tmp_path / "work")


def _run(job: TrainingJob, folder: Path, *, kill: Callable[[int], None], at: int) -> list[str]:
    """Run a worker, and let `kill` do its work on its process id at a step; return its lines."""
    job.write(folder / "job.json")
    command = worker_command(folder / "job.json")
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            lines.append(line)
            if line.startswith(f"step {at}/"):
                kill(worker.pid)
                at = -1
    return lines


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _kill_a_rank(pid: int) -> None:
    os.kill(_children(pid)[-1], signal.SIGKILL)


def _kill_the_supervisor(pid: int) -> None:
    ranks = _children(pid)
    os.kill(pid, signal.SIGKILL)
    for rank in ranks:
        _wait_until_gone(rank)


def _wait_until_gone(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        import select

        assert select.select([descriptor], [], [], 10)[0], f"{pid} outlived its supervisor"
    finally:
        os.close(descriptor)


def _steps(lines: list[str]) -> list[int]:
    return [int(match[1]) for line in lines if (match := re.match(r"step (\d+)/", line))]


def _require_same(job: TrainingJob, uninterrupted: TrainingJob, *, tolerance: float) -> None:
    """Hold a training's curve and weights against those of one that nobody interrupted."""
    from safetensors.numpy import load_file

    from llm_assets.training.engine.trained import ADAPTER_FILE

    found, expected = read_history(job.output_dir), read_history(uninterrupted.output_dir)
    assert [report.step for report in found] == list(range(1, _NUM_STEPS + 1))
    assert [report.loss for report in found] == pytest.approx(
        [report.loss for report in expected], abs=tolerance
    )
    assert [report.learning_rate for report in found] == [r.learning_rate for r in expected]
    weights = load_file(job.output_dir / ADAPTER_FILE)
    for name, values in load_file(uninterrupted.output_dir / ADAPTER_FILE).items():
        assert weights[name] == pytest.approx(values, abs=tolerance)


def test_a_killed_process_is_started_again_by_its_supervisor(
    job: TrainingJob, uninterrupted: TrainingJob, tmp_path: Path
):
    lines = _run(job, tmp_path, kill=_kill_a_rank, at=25)
    steps = _steps(lines)
    (again,) = [n for n, (a, b) in enumerate(itertools.pairwise(steps)) if b != a + 1]
    assert steps[again] - steps[again + 1] < _SAVE_STEPS
    assert "rank 0 was ended by SIGKILL; starting again from the last checkpoint\n" in lines
    assert TrainingResult.read(job.output_dir).metrics["num_attempts"] == 2
    # One process and the same order of sums: the very same numbers.
    _require_same(job, uninterrupted, tolerance=0)


@pytest.mark.chaos
def test_after_a_killed_supervisor_the_next_attempt_goes_on(
    job: TrainingJob, uninterrupted: TrainingJob, tmp_path: Path
):
    before = _steps(_run(job, tmp_path, kill=_kill_the_supervisor, at=37))
    assert not job.output_dir.exists()
    after = _steps(_run(job, tmp_path, kill=_kill_the_supervisor, at=-1))
    assert before[-1] - after[0] < _SAVE_STEPS
    _require_same(job, uninterrupted, tolerance=0)


@pytest.mark.chaos
def test_killed_before_the_first_checkpoint_it_begins_again(
    job: TrainingJob, uninterrupted: TrainingJob, tmp_path: Path
):
    _run(job, tmp_path, kill=_kill_the_supervisor, at=1)
    # A leftover of a checkpoint that was being written is none.
    (job.work_dir / "checkpoints" / ".step-000000005").mkdir(parents=True, exist_ok=True)
    _run(job, tmp_path, kill=_kill_the_supervisor, at=-1)
    _require_same(job, uninterrupted, tolerance=0)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"num_processes": 2, "zero_stage": 2}, {}),
        ({}, {"num_processes": 2, "zero_stage": 3}),
    ],
    ids=str,
)
def test_another_number_of_processes_goes_on(
    job: TrainingJob,
    uninterrupted: TrainingJob,
    tmp_path: Path,
    first: dict[str, Any],
    then: dict[str, Any],
):
    # What is dropped out is drawn by each process for itself, so without dropout the curves agree.
    job = replace(job, config=job.config.model_copy(update={"lora_dropout": 0.0}))
    alone = replace(job, output_dir=tmp_path / "alone", work_dir=tmp_path / "work-alone")
    _run(alone, tmp_path, kill=_kill_the_supervisor, at=-1)
    first_job = replace(job, config=_config(job, **first))
    before = _steps(_run(first_job, tmp_path, kill=_kill_the_supervisor, at=33))
    then_job = replace(job, config=_config(job, **then))
    after = _steps(_run(then_job, tmp_path, kill=_kill_the_supervisor, at=-1))
    assert 1 < after[0] <= before[-1] + 1
    _require_same(then_job, alone, tolerance=_TOLERANCE)


@pytest.mark.chaos
def test_a_process_that_dies_every_time_is_given_up(job: TrainingJob, tmp_path: Path):
    job = replace(job, config=_config(job, max_restarts=0))
    job.write(tmp_path / "job.json")
    with subprocess.Popen(
        worker_command(tmp_path / "job.json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        next(line for line in worker.stdout if line.startswith(b"step 1/"))
        _kill_a_rank(worker.pid)
        worker.stdout.read()
        errors = worker.stderr.read().decode()
    assert worker.returncode == 3
    assert errors == "failed: rank 0 was ended by SIGKILL\n"
