from pathlib import Path

import pytest

from llm_assets.training.rows import Row
from tests.training.engine.conftest import MakeLoop, randomized

# PEFT asks transformers by a name that is going to change.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")

ROWS = [Row(f"Question {n}{' more' * n}?", (answer,)) for n, answer in enumerate("abcdefgh")]


@pytest.mark.parametrize("max_states_gb", [0.0, 2e-5])
def test_states_that_are_not_kept_are_computed_again_and_equal(
    make_loop: MakeLoop, tmp_path: Path, max_states_gb: float
):
    import torch

    kept, bounded = make_loop(ROWS), make_loop(ROWS, max_states_gb=max_states_gb)
    numbers = range(len(ROWS))
    assert kept.examples.inputs.num_kept == len(ROWS)
    assert bounded.examples.inputs.num_kept < len(ROWS)
    for some in ([0], numbers, [7, 0, 3]):
        for whole, part in zip(
            kept.examples.inputs.rests(some), bounded.examples.inputs.rests(some), strict=True
        ):
            torch.testing.assert_close(whole, part, atol=1e-5, rtol=1e-4)
    for loop in (kept, bounded):
        randomized(loop.engine)
    assert kept.mean_loss(numbers) == pytest.approx(bounded.mean_loss(numbers), rel=1e-5)


def test_the_file_is_no_larger_than_the_bound(make_loop: MakeLoop, tmp_path: Path):
    make_loop(ROWS, max_states_gb=2e-5)
    (path,) = tmp_path.glob("states-*.bin")
    assert 0 < path.stat().st_size <= 20_000


def test_states_are_found_again_by_the_same_rows_and_replaced_for_others(
    make_loop: MakeLoop, tmp_path: Path
):
    make_loop(ROWS)
    (path,) = tmp_path.glob("states-*")
    before = path.stat()
    make_loop(ROWS)
    assert path.stat() == before
    make_loop(ROWS[1:])
    (other,) = tmp_path.glob("states-*")
    assert other != path
