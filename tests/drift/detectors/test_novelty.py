import numpy as np

from llm_assets.drift.detectors.nearest import nearest_distances
from llm_assets.drift.detectors.novelty import (
    Novelty,
    NoveltyReference,
    held_out_distances,
    novelty,
)
from tests.drift.vectors import topic


def measured(current: np.ndarray, baseline: np.ndarray, *, rate: float) -> Novelty:
    rng = np.random.default_rng(0)
    reference = NoveltyReference.of(baseline, rng=rng)
    return novelty(current, reference, false_alarm_rate=rate, rng=rng)


def test_false_alarms_stay_near_the_wanted_rate() -> None:
    rng = np.random.default_rng(6)
    num_alarms = 0
    for _ in range(200):
        vectors = topic(180, centre=0, rng=rng)
        found = measured(vectors[:60], vectors[60:], rate=0.1).measured
        num_alarms += found.score > found.threshold
    # The score is a count, so the rate may stay well below; 99.9 % of honest tests stay under 36.
    assert 1 <= num_alarms <= 35


def test_a_foreign_topic_is_found() -> None:
    rng = np.random.default_rng(1)
    baseline = topic(200, centre=0, rng=rng)
    current = np.concatenate([topic(45, centre=0, rng=rng), topic(15, centre=1, rng=rng)])
    found = measured(current, baseline, rate=0.005)
    assert found.measured.score > found.measured.threshold
    assert found.measured.interval.low < found.measured.score < found.measured.interval.high
    assert np.mean(found.distances[45:] > found.cut) > 0.8


def test_repeats_of_baseline_prompts_are_not_novel() -> None:
    baseline = topic(100, centre=0, rng=np.random.default_rng(2))
    assert measured(baseline[:50], baseline, rate=0.1).measured.score == 0


def test_a_baseline_of_repeats_does_not_call_its_own_prompts_novel() -> None:
    once = topic(30, centre=0, rng=np.random.default_rng(2))
    assert measured(once, once.repeat(20, axis=0), rate=0.1).measured.score == 0


def test_of_a_large_baseline_a_part_calibrates_against_all() -> None:
    rng = np.random.default_rng(3)
    baseline = topic(2500, centre=0, rng=rng)
    part = held_out_distances(baseline, rng=rng)
    all_of_it = nearest_distances(baseline, baseline, own_rows=np.arange(2500))
    assert len(part) == 2000
    assert abs(np.quantile(part, 0.95) - np.quantile(all_of_it, 0.95)) < 0.01


def test_only_a_part_of_a_huge_baseline_is_looked_at() -> None:
    baseline = topic(7000, centre=0, rng=np.random.default_rng(4))
    reference = NoveltyReference.of(baseline, rng=np.random.default_rng(0))
    assert reference.neighbours.shape == (5000, 16)
