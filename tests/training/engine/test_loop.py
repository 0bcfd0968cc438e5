import pytest

from llm_assets.training.rows import Row
from tests.training.engine.conftest import MakeLoop, randomized

# PEFT asks transformers by a name that is going to change.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")

ROWS = [Row(f"Question {n}{' more' * n}?", ("ab" * n + "c",), n % 2 == 0) for n in range(5)]
PAIRS = [Row(f"Question {n}{' more' * n}?", ("good", "bad " * n + "no")) for n in range(5)]


@pytest.mark.parametrize(
    ("rows", "method"), [(ROWS, "sft"), (ROWS, "kto"), (PAIRS, "dpo"), (PAIRS, "orpo")]
)
def test_the_mean_loss_does_not_depend_on_how_rows_are_divided(
    make_loop: MakeLoop, rows: list[Row], method: str
):
    losses = []
    for size in (1, 2, 5):
        compute = {"per_device_train_batch_size": size}
        loop = make_loop(rows, method=method, beta=0.5, compute=compute)
        randomized(loop.engine)
        losses.append(loop.mean_loss(range(len(rows))))
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-5)


@pytest.mark.parametrize(("rows", "method"), [(ROWS, "kto"), (PAIRS, "dpo")])
def test_before_a_training_nothing_is_preferred(make_loop: MakeLoop, rows: list[Row], method: str):
    import math

    loop = make_loop(rows, method=method)
    expected = {"kto": 0.5, "dpo": math.log(2)}[method]
    assert loop.mean_loss(range(len(rows))) == pytest.approx(expected, abs=1e-5)


def test_the_loss_of_no_rows_is_undefined(make_loop: MakeLoop):
    import math

    assert math.isnan(make_loop(ROWS).mean_loss([]))


def test_evaluation_changes_nothing(make_loop: MakeLoop):
    loop = make_loop(ROWS, lora_dropout=0.5)
    randomized(loop.engine)
    assert loop.mean_loss(range(5)) == loop.mean_loss(range(5))
