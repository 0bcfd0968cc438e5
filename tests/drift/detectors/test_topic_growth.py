import numpy as np
import pytest

from llm_assets.drift.detectors.calibration import Calibrated, Undefined
from llm_assets.drift.detectors.topic_growth import TopicGrowth, topic_growth
from tests.drift.vectors import topic


def grown(current: np.ndarray, baseline: np.ndarray, *, rate: float, seed: int) -> TopicGrowth:
    rng = np.random.default_rng(seed)
    return topic_growth(current, baseline, false_alarm_rate=rate, rng=rng)


def measured(found: TopicGrowth) -> Calibrated:
    assert isinstance(found.measured, Calibrated)
    return found.measured


def mixture(num: int, *, rng: np.random.Generator) -> np.ndarray:
    """Return prompts of four topics."""
    parts = [topic(num // 4, centre=centre, rng=rng) for centre in range(4)]
    return rng.permutation(np.concatenate(parts))


@pytest.mark.parametrize(("num_current", "num_baseline"), [(80, 160), (80, 800)])
def test_false_alarms_stay_near_the_wanted_rate(num_current: int, num_baseline: int) -> None:
    rng = np.random.default_rng(5)
    num_alarms = 0
    for seed in range(120):
        vectors = mixture(num_current + num_baseline, rng=rng)
        found = grown(vectors[:num_current], vectors[num_current:], rate=0.1, seed=seed)
        num_alarms += measured(found).score > measured(found).threshold
    # 99.9 % of honest tests alarm 2 to 24 times; the score is made of counts, so fewer is honest.
    assert 1 <= num_alarms <= 24


def test_a_tight_group_is_found_where_the_mean_hardly_moves() -> None:
    rng = np.random.default_rng(1)
    current, baseline = mixture(200, rng=rng), mixture(1000, rng=rng)
    current[:12] = topic(1, centre=2, rng=rng) + rng.normal(scale=0.02, size=(12, 16))
    found = grown(current, baseline, rate=0.01, seed=1)
    assert measured(found).score > measured(found).threshold
    largest = int(np.argmax(found.growth))
    assert np.mean(found.cells[:12] == largest) > 0.8
    assert measured(found).interval.low < measured(found).score < measured(found).interval.high
    assert 0.03 < measured(found).effect_size < 0.09


def test_a_group_that_shrank_is_no_growth() -> None:
    rng = np.random.default_rng(2)
    group = topic(1, centre=2, rng=rng) + rng.normal(scale=0.02, size=(100, 16))
    baseline = np.concatenate([mixture(900, rng=rng), group]).astype(np.float32)
    found = grown(mixture(200, rng=rng), baseline, rate=0.01, seed=2)
    assert measured(found).score <= measured(found).threshold


def test_every_prompt_has_a_cell_and_growths_have_no_spread_of_their_own() -> None:
    rng = np.random.default_rng(3)
    current, baseline = mixture(100, rng=rng), mixture(300, rng=rng)
    found = grown(current, baseline, rate=0.1, seed=3)
    num_cells = len(found.centres)
    assert found.cells.shape == (100,)
    assert found.baseline_cells.shape == (300,)
    assert found.growth.shape == (num_cells,)
    assert max(found.cells.max(), found.baseline_cells.max()) < num_cells
    assert measured(found).score == found.growth.max()


def test_repeated_prompts_do_not_disturb_it() -> None:
    rng = np.random.default_rng(4)
    once = mixture(20, rng=rng)
    found = grown(once.repeat(3, axis=0), once.repeat(10, axis=0), rate=0.1, seed=4)
    assert measured(found).score <= measured(found).threshold


def test_the_same_seed_gives_the_same_result() -> None:
    rng = np.random.default_rng(5)
    current, baseline = mixture(100, rng=rng), mixture(300, rng=rng)
    first, second = (grown(current, baseline, rate=0.1, seed=7) for _ in range(2))
    assert first.measured == second.measured
    assert (first.cells == second.cells).all()


def test_prompts_that_are_all_alike_are_undefined() -> None:
    vectors = topic(1, centre=0, rng=np.random.default_rng(0)).repeat(60, axis=0)
    found = grown(vectors[:20], vectors[20:], rate=0.1, seed=0)
    assert found.measured == Undefined(
        "all 20 prompts of the window and 40 of the baseline are alike"
    )
