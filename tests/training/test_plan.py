from hypothesis import given
from hypothesis import strategies as st

from llm_assets.training.config import TrainingConfig
from llm_assets.training.plan import num_micro_batches, plan, share


@given(st.integers(1, 50), st.integers(1, 40), st.integers(1, 16))
def test_every_step_is_full_and_all_rows_come_before_any_comes_again(
    num_rows: int, max_steps: int, batch_size: int
):
    config = TrainingConfig(max_steps=max_steps, train_batch_size=batch_size)
    steps = plan(num_rows, config)
    assert [len(step) for step in steps] == [batch_size] * max_steps
    seen = [row for step in steps for row in step]
    for start in range(0, len(seen) - num_rows + 1, num_rows):
        assert sorted(seen[start : start + num_rows]) == list(range(num_rows))


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.1, 0.9))
def test_every_step_has_its_share_of_replayed_rows(num_train: int, num_replay: int, rate: float):
    config = TrainingConfig(max_steps=5, train_batch_size=10, replay_rate=rate)
    for step in plan(num_train, config, num_replay=num_replay):
        assert sum(row >= num_train for row in step) == round(10 * rate)
        assert max(step) < num_train + num_replay


def test_the_seed_alone_decides_the_order():
    assert plan(20, TrainingConfig(seed=1)) == plan(20, TrainingConfig(seed=1))
    assert plan(20, TrainingConfig(seed=1)) != plan(20, TrainingConfig(seed=2))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 9))
def test_processes_share_a_step_in_equally_many_pieces_of_nearly_equal_size(
    world_size: int, num_own: int, micro_batch_size: int
):
    batch = list(range(100, 100 + world_size * num_own))
    shares = [
        share(batch, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        for rank in range(world_size)
    ]
    assert sorted(row for pieces in shares for piece in pieces for row in piece) == batch
    number = num_micro_batches(len(batch), world_size=world_size, micro_batch_size=micro_batch_size)
    assert {len(pieces) for pieces in shares} == {number}
    sizes = {len(piece) for pieces in shares for piece in pieces}
    assert max(sizes) <= micro_batch_size
    assert max(sizes) - min(sizes) <= 1
