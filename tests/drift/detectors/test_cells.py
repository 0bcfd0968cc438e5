import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.config import Detector
from llm_assets.drift.detectors.calibration import Calibrated, Undefined
from llm_assets.drift.detectors.cells import Cells, cell_occupancy, population_stability_index
from llm_assets.drift.detectors.nearest import nearest_centres
from tests.drift.vectors import topic

DETECTORS = [Detector.CELL_PSI, Detector.CELL_JS]


def mixture(shares: list[float], num: int, *, rng: np.random.Generator) -> np.ndarray:
    """Return prompts of so many topics as there are shares."""
    counts = rng.multinomial(num, shares)
    parts = [topic(count, centre=centre, rng=rng) for centre, count in enumerate(counts)]
    return rng.permutation(np.concatenate(parts))


def occupancy(
    current: np.ndarray, baseline: np.ndarray, *, rate: float = 0.1, seed: int = 0
) -> dict[Detector, Calibrated]:
    rng = np.random.default_rng(seed)
    cells = Cells.of(baseline, rng=rng)
    found: dict[Detector, Calibrated] = {}
    for detector, measured in cell_occupancy(
        current, cells, false_alarm_rate=rate, rng=rng
    ).items():
        assert isinstance(measured, Calibrated)
        found[detector] = measured
    assert list(found) == DETECTORS
    return found


@pytest.mark.parametrize(("num_current", "num_baseline"), [(30, 60), (40, 200)])
def test_false_alarms_stay_near_the_wanted_rate_and_effects_near_0(
    num_current: int, num_baseline: int
) -> None:
    rng = np.random.default_rng(5)
    alarms: dict[Detector, list[bool]] = {detector: [] for detector in DETECTORS}
    effects: dict[Detector, list[float]] = {detector: [] for detector in DETECTORS}
    for seed in range(100):
        vectors = mixture([0.5, 0.3, 0.2], num_current + num_baseline, rng=rng)
        found = occupancy(vectors[:num_current], vectors[num_current:], seed=seed)
        for detector, score in found.items():
            alarms[detector].append(score.score > score.threshold)
            effects[detector].append(score.effect_size)
    for detector in DETECTORS:
        # 99.9 % of honest tests alarm 2 to 21 times.
        assert 2 <= sum(alarms[detector]) <= 21
        spread = np.std(effects[detector]) / np.sqrt(100)
        assert abs(np.mean(effects[detector])) < 4 * spread


def test_a_changed_mix_of_known_topics_is_found() -> None:
    rng = np.random.default_rng(1)
    baseline = mixture([0.6, 0.3, 0.1], 600, rng=rng)
    current = mixture([0.3, 0.3, 0.4], 200, rng=rng)
    for score in occupancy(current, baseline, rate=0.005).values():
        assert score.score > score.threshold
        assert score.exceedance_rate < 0.005
        assert score.interval.low < score.score < score.interval.high
        assert score.interval.low > score.score - score.effect_size
        assert 0 < score.effect_size < score.score


def test_prompts_that_cells_were_fitted_on_are_not_counted() -> None:
    baseline = topic(301, centre=0, rng=np.random.default_rng(2))
    cells = Cells.of(baseline, rng=np.random.default_rng(3))
    assert cells.counts.sum() == 150
    assert len(cells.centres) == len(cells.counts) == 17
    everybody = np.bincount(nearest_centres(baseline, cells.centres), minlength=17)
    assert (everybody >= cells.counts).all()
    # All rows that started a cell lie in it, and none of them was counted.
    assert everybody.sum() - cells.counts.sum() == 151


def test_cells_are_where_the_topics_are() -> None:
    rng = np.random.default_rng(4)
    cells = Cells.of(mixture([0.5, 0.5], 400, rng=rng), rng=rng)
    counts = [
        np.bincount(
            nearest_centres(topic(100, centre=centre, rng=rng), cells.centres),
            minlength=len(cells.centres),
        )
        for centre in (0, 1)
    ]
    assert np.maximum(*counts).sum() > 0.9 * 200


def test_prompts_asked_word_for_word_leave_cells_empty_and_nothing_undefined() -> None:
    rng = np.random.default_rng(5)
    once = topic(5, centre=0, rng=rng)
    for score in occupancy(once.repeat(8, axis=0), once.repeat(40, axis=0)).values():
        assert np.isfinite(score.score)
        assert score.score <= score.threshold


def test_prompts_that_all_lie_in_one_cell_say_nothing() -> None:
    row = topic(1, centre=0, rng=np.random.default_rng(0))
    rng = np.random.default_rng(0)
    cells = Cells.of(row.repeat(60, axis=0), rng=rng)
    found = cell_occupancy(row.repeat(20, axis=0), cells, false_alarm_rate=0.1, rng=rng)
    reason = "all 20 prompts of the window and 30 of the baseline lie in one cell"
    assert found == dict.fromkeys(DETECTORS, Undefined(reason))


def test_the_same_seed_gives_the_same_result() -> None:
    vectors = topic(90, centre=0, rng=np.random.default_rng(0))
    assert occupancy(vectors[:30], vectors[30:]) == occupancy(vectors[:30], vectors[30:])


counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=8)


@given(counts)
def test_the_index_is_symmetric_never_negative_and_0_for_the_same_counts(
    pairs: list[tuple[int, int]],
) -> None:
    ours, theirs = np.array(pairs).T
    index = float(population_stability_index(ours, theirs))
    assert 0 <= index < np.inf
    assert index == float(population_stability_index(theirs, ours))
    assert float(population_stability_index(ours, ours)) == 0


@given(counts)
def test_an_empty_cell_more_on_both_sides_hardly_changes_the_index_of_many(
    pairs: list[tuple[int, int]],
) -> None:
    ours, theirs = 1000 * np.array(pairs).T + 1000
    more = population_stability_index(np.append(ours, 0), np.append(theirs, 0))
    assert abs(float(more) - float(population_stability_index(ours, theirs))) < 0.01


@settings(max_examples=25, deadline=None)
@given(num_current=st.integers(1, 30), num_baseline=st.integers(4, 60), seed=st.integers(0, 99))
def test_what_is_told_lies_within_its_bounds(
    num_current: int, num_baseline: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    current, baseline = (topic(n, centre=0, rng=rng) for n in (num_current, num_baseline))
    found = cell_occupancy(current, Cells.of(baseline, rng=rng), false_alarm_rate=0.1, rng=rng)
    for detector, score in found.items():
        if isinstance(score, Undefined):
            continue
        assert 0 <= score.interval.low <= score.score <= score.interval.high
        assert 0 < score.exceedance_rate <= 1
        if detector is Detector.CELL_JS:
            assert score.interval.high <= 1
