import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_assets.training.progress import StepReport
from llm_assets.training.work_folder import clear

if TYPE_CHECKING:
    from llm_assets.training.engine.checkpoints import Progress


def _progress(step: int, fingerprint: str = "f") -> "Progress":
    from llm_assets.training.engine.checkpoints import Progress

    report = StepReport(
        step=step,
        max_steps=9,
        loss=0.1 + step,
        learning_rate=2e-3,
        tokens_per_second=1.0,
        memory_bytes=1,
        seconds_left=1.0,
        validation_loss=None,
    )
    return Progress(fingerprint=fingerprint, step=step, reports=[report])


def test_what_was_saved_is_found_again_to_the_last_bit(tmp_path: Path):
    import torch

    from llm_assets.training.engine.checkpoints import Checkpoints

    checkpoints = Checkpoints(tmp_path)
    state = {"weight/a": torch.rand(3, 2), "exp_avg/a": torch.rand(3, 2)}
    progress = _progress(7)
    checkpoints.save(state, progress)
    assert Checkpoints(tmp_path).last("f") == 7
    assert checkpoints.progress(7) == progress
    found = checkpoints.load(7)
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_the_last_two_are_kept(tmp_path: Path):
    import torch

    from llm_assets.training.engine.checkpoints import Checkpoints

    checkpoints = Checkpoints(tmp_path)
    for step in (9, 10, 11):
        checkpoints.save({"a": torch.zeros(1)}, _progress(step))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000000010", "step-000000011"]


def test_a_checkpoint_of_another_job_is_not_gone_on_from(tmp_path: Path):
    import torch

    from llm_assets.training.engine.checkpoints import Checkpoints

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"a": torch.zeros(1)}, _progress(3, "other"))
    assert checkpoints.last("f") == 0
    clear(tmp_path)
    assert checkpoints.last("other") == 0


_WRITER = """
import sys, torch
from pathlib import Path
from llm_assets.training.engine.checkpoints import Checkpoints, Progress
checkpoints = Checkpoints(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    state = {"a": torch.full((200_000,), float(step))}
    checkpoints.save(state, Progress(fingerprint="f", step=step))
    print(step, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01])
def test_whenever_a_writer_is_killed_the_last_checkpoint_is_whole(tmp_path: Path, delay: float):
    import torch

    from llm_assets.training.engine.checkpoints import Checkpoints

    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        last = [int(writer.stdout.readline()) for _ in range(3)][-1]
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
    checkpoints = Checkpoints(tmp_path)
    step = checkpoints.last("f")
    assert step >= last
    assert checkpoints.progress(step).step == step
    assert torch.equal(checkpoints.load(step)["a"], torch.full((200_000,), float(step)))
