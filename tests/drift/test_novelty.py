import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift import novelty as module
from llm_assets.drift.novelty import held_out_distances, nearest_distances, novelty
from tests.drift.vectors import topic, unit


def test_false_alarms_stay_near_the_wanted_rate() -> None:
    rng = np.random.default_rng(6)
    num_alarms = 0
    for _ in range(200):
        vectors = topic(180, centre=0, rng=rng)
        result = novelty(vectors[:60], vectors[60:], false_alarm_rate=0.1, rng=rng)
        num_alarms += result.score > result.threshold
    # The score is a count, so the rate may stay well below; 99.9 % of honest tests stay under 36.
    assert 1 <= num_alarms <= 35


def test_a_foreign_topic_is_found() -> None:
    rng = np.random.default_rng(1)
    baseline = topic(200, centre=0, rng=rng)
    current = np.concatenate([topic(45, centre=0, rng=rng), topic(15, centre=1, rng=rng)])
    result = novelty(current, baseline, false_alarm_rate=0.005, rng=rng)
    assert result.score > result.threshold
    assert result.interval.low < result.score < result.interval.high
    assert np.mean(result.distances[45:] > result.cut) > 0.8


def test_repeats_of_baseline_prompts_are_not_novel() -> None:
    rng = np.random.default_rng(2)
    baseline = topic(100, centre=0, rng=rng)
    result = novelty(baseline[:50], baseline, false_alarm_rate=0.1, rng=rng)
    assert result.score == 0


@settings(max_examples=20, deadline=None)
@given(num_current=st.integers(1, 40), num_baseline=st.integers(2, 40), seed=st.integers(0, 99))
def test_blocks_give_the_same_distances_as_one_product(
    num_current: int, num_baseline: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    current = unit(rng.normal(size=(num_current, 5)))
    baseline = unit(rng.normal(size=(num_baseline, 5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CURRENT_ROWS", 7)
        patch.setattr(module, "_BASELINE_ROWS", 6)
        blocks = nearest_distances(current, baseline)
        own = nearest_distances(baseline, baseline, own_rows=np.arange(num_baseline))
    np.testing.assert_allclose(blocks, 1 - (current @ baseline.T).max(axis=1), atol=1e-6)
    similarities = baseline @ baseline.T
    np.fill_diagonal(similarities, -np.inf)
    np.testing.assert_allclose(own, 1 - similarities.max(axis=1), atol=1e-6)


def test_of_a_large_baseline_a_part_calibrates_against_all() -> None:
    rng = np.random.default_rng(3)
    baseline = topic(2500, centre=0, rng=rng)
    part = held_out_distances(baseline, rng=rng)
    all_of_it = nearest_distances(baseline, baseline, own_rows=np.arange(2500))
    assert len(part) == 2000
    assert abs(np.quantile(part, 0.95) - np.quantile(all_of_it, 0.95)) < 0.01
