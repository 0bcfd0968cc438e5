import random

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.training.batches import epoch, plan
from llm_assets.training.config import TrainingConfig


@given(st.integers(1, 200), st.integers(1, 32), st.integers(0, 9))
def test_an_epoch_has_every_row_once_in_full_batches(num_rows: int, batch_size: int, seed: int):
    batches = epoch(num_rows, batch_size=batch_size, rng=random.Random(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(num_rows))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size


@given(st.integers(1, 50), st.integers(1, 40), st.integers(1, 4), st.integers(1, 16))
def test_a_plan_has_its_steps_and_goes_through_all_rows_before_any_comes_again(
    num_rows: int, max_steps: int, accumulation: int, batch_size: int
):
    config = TrainingConfig(
        max_steps=max_steps,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=batch_size,
    )
    steps = plan(num_rows, config)
    assert [len(step) for step in steps] == [accumulation] * max_steps
    seen = [row for step in steps for batch in step for row in batch]
    for start in range(0, len(seen) - num_rows + 1, num_rows):
        assert sorted(seen[start : start + num_rows]) == list(range(num_rows))


def test_the_seed_alone_decides_the_order():
    assert plan(20, TrainingConfig(seed=1)) == plan(20, TrainingConfig(seed=1))
    assert plan(20, TrainingConfig(seed=1)) != plan(20, TrainingConfig(seed=2))
