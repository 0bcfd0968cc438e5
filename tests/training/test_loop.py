import math
from types import SimpleNamespace
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.training import loop
from llm_assets.training.lora import States
from llm_assets.training.progress import StepReport
from llm_assets.training.rows import TokenRow


class FakeEngine:
    """Returns the states that it is given, times a factor, and counts its steps."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.num_steps = 0

    def __call__(self, *, inputs_embeds: Any, **_: Any) -> Any:
        return SimpleNamespace(logits=inputs_embeds * self.factor)

    def train(self) -> None: ...

    def eval(self) -> None: ...

    def get_lr(self) -> list[float]:
        return [0.5]

    def backward(self, loss: Any) -> None: ...

    def step(self) -> None:
        self.num_steps += 1


class Recorder:
    """A reporter that keeps what it gets."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []

    def say(self, text: str) -> None: ...

    def step(self, report: StepReport) -> None:
        self.steps.append(report)

    def finish(self, metrics: dict[str, float]) -> None: ...


def _examples() -> loop.Examples:
    import torch

    rows = [TokenRow(ids=(7, 1, 2, 0), num_prompt=2), TokenRow(ids=(7, 2, 1), num_prompt=2)]
    rests = [torch.eye(3)[[1, 2, 0]], torch.eye(3)[[0, 1]]]
    return loop.Examples(rows, States(torch.zeros(1, 3), rests))


def _identity() -> Any:
    import torch

    return torch.nn.Identity()


def test_the_loss_is_the_mean_over_the_answers_tokens_only():
    # The states are one-hot logits: token 1 predicts 1 where 2 is wanted, and so on.
    right, wrong = math.log(math.e + 2) - 1, math.log(math.e + 2)
    expected = (wrong + wrong + wrong) / 3
    found = loop.mean_loss(FakeEngine(), _identity(), _examples(), batch_size=2)
    assert found == pytest.approx(expected)
    assert found > right


def test_the_mean_loss_does_not_depend_on_the_batch_size():
    losses = [loop.mean_loss(FakeEngine(), _identity(), _examples(), batch_size=n) for n in (1, 2)]
    assert losses[0] == pytest.approx(losses[1])


def test_the_loss_of_no_rows_is_undefined():
    import torch

    none = loop.Examples([], States(torch.zeros(1, 3), []))
    assert math.isnan(loop.mean_loss(FakeEngine(), _identity(), none, batch_size=2))


def test_every_micro_batch_is_stepped_and_every_step_reported():
    engine, recorder = FakeEngine(), Recorder()
    steps = [[[0], [1]], [[1], [0]], [[0], [0]]]
    losses = loop.train(engine, _identity(), _examples(), steps=steps, reporter=recorder)
    assert engine.num_steps == 6
    assert [report.step for report in recorder.steps] == [1, 2, 3]
    assert [report.loss for report in recorder.steps] == losses
    assert recorder.steps[-1].seconds_left == 0


def test_a_loss_that_is_not_a_number_ends_the_training():
    engine = FakeEngine(factor=math.nan)
    with pytest.raises(UserError, match="the loss of step 1 is nan"):
        loop.train(engine, _identity(), _examples(), steps=[[[0]]], reporter=Recorder())
