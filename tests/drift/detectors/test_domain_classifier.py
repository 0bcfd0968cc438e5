import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.detectors import domain_classifier as module
from llm_assets.drift.detectors.calibration import Calibrated, Undefined
from llm_assets.drift.detectors.domain_classifier import DomainClassifier, domain_classifier
from tests.drift.vectors import topic, unit


def classified(
    current: np.ndarray, baseline: np.ndarray, *, rate: float = 0.1, seed: int = 0
) -> DomainClassifier:
    rng = np.random.default_rng(seed)
    return domain_classifier(current, baseline, false_alarm_rate=rate, rng=rng)


def measured(current: np.ndarray, baseline: np.ndarray, *, rate: float = 0.1) -> Calibrated:
    found = classified(current, baseline, rate=rate).measured
    assert isinstance(found, Calibrated)
    return found


@pytest.mark.parametrize(("num_current", "num_baseline"), [(20, 40), (40, 200)])
def test_false_alarms_stay_near_the_wanted_rate(num_current: int, num_baseline: int) -> None:
    rng = np.random.default_rng(5)
    num_alarms = 0
    for seed in range(100):
        vectors = topic(num_current + num_baseline, centre=0, rng=rng)
        found = classified(vectors[:num_current], vectors[num_current:], seed=seed).measured
        assert isinstance(found, Calibrated)
        num_alarms += found.score > found.threshold
    # 99.9 % of honest tests alarm 2 to 21 times.
    assert 2 <= num_alarms <= 21


def test_prompts_asked_again_and_again_do_not_favour_a_side() -> None:
    once = topic(3, centre=0, rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    scores = []
    for seed in range(40):
        rows = once[rng.integers(0, 3, 120)]
        found = classified(rows[:40], rows[40:], seed=seed).measured
        assert isinstance(found, Calibrated)
        scores.append(found.score)
    assert abs(np.mean(scores) - 0.5) < 4 * np.std(scores) / np.sqrt(len(scores))


def test_a_changed_part_of_a_window_is_found_and_its_prompts_score_highest() -> None:
    rng = np.random.default_rng(3)
    baseline = topic(600, centre=0, rng=rng)
    current = np.concatenate([topic(160, centre=0, rng=rng), topic(40, centre=1, rng=rng)])
    found = classified(current, baseline, rate=0.005)
    assert isinstance(found.measured, Calibrated)
    assert found.measured.score > found.measured.threshold
    assert found.measured.exceedance_rate < 0.005
    assert found.measured.interval.low > 0.5
    moved = np.argsort(-found.scores)[:40]
    assert np.mean(moved >= 160) > 0.9
    # A fifth moved, and the effect size is as unsure as the score is.
    assert 0.05 < found.measured.effect_size < 0.4


def test_sides_that_share_nothing_are_told_apart_but_their_number_still_counts() -> None:
    rng = np.random.default_rng(4)
    found = measured(topic(20, centre=0, rng=rng), topic(50, centre=1, rng=rng) * np.float32(9))
    assert found.score > 0.99
    assert found.effect_size > 0.98
    assert found.interval.low < 0.97
    assert found.interval.high == 1


def test_a_prompt_is_scored_by_classifiers_that_did_not_see_it() -> None:
    rng = np.random.default_rng(5)
    # With more dimensions than prompts, a classifier tells apart whatever it has seen.
    current, baseline = (unit(rng.normal(size=(30, 200))) for _ in range(2))
    scores = classified(current, baseline).scores
    swapped = classified(baseline, current).scores
    assert abs(np.mean(scores > np.median(np.concatenate([scores, -swapped]))) - 0.5) < 0.3
    assert abs(scores.mean()) < scores.std()


def test_of_a_large_window_the_prompts_that_were_not_drawn_are_scored_like_the_others() -> None:
    rng = np.random.default_rng(6)
    baseline = topic(200, centre=0, rng=rng)
    current = np.concatenate([topic(100, centre=0, rng=rng), topic(100, centre=1, rng=rng)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_ROWS", 60)
        scores = classified(current, baseline).scores
    assert scores.shape == (200,)
    assert np.mean(np.argsort(-scores)[:100] >= 100) > 0.95


def test_prompts_that_are_all_the_same_cannot_be_told_apart() -> None:
    rows = topic(1, centre=0, rng=np.random.default_rng(0)).repeat(30, axis=0)
    found = classified(rows[:10], rows)
    assert found.measured == Undefined("all of 40 prompts drawn from both sides are the same")
    assert np.isnan(found.scores).all()
    assert found.scores.shape == (10,)


def test_the_same_seed_gives_the_same_result() -> None:
    vectors = topic(90, centre=0, rng=np.random.default_rng(0))
    first, second = (classified(vectors[:30], vectors[30:], seed=7) for _ in range(2))
    assert first.measured == second.measured
    assert (first.scores == second.scores).all()


@settings(max_examples=25, deadline=None)
@given(num_current=st.integers(2, 30), num_baseline=st.integers(2, 30), seed=st.integers(0, 99))
def test_what_is_told_lies_within_its_bounds(
    num_current: int, num_baseline: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    current, baseline = (unit(rng.normal(size=(n, 5))) for n in (num_current, num_baseline))
    found = measured(current, baseline)
    assert 0 <= found.interval.low <= found.score <= found.interval.high <= 1
    assert found.interval.low < found.interval.high
    assert 0 < found.exceedance_rate <= 1
    assert found.effect_size == max(0, 2 * found.score - 1)
    assert (found.score > found.threshold) == (found.exceedance_rate <= 0.1)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=2, max_size=5),
    seed=st.integers(0, 99),
)
def test_directions_and_aucs_are_those_of_their_definitions(
    sizes: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    folds = []
    for ours, theirs in sizes:
        labels = np.array([1] * ours + [0] * theirs, np.float32)
        shuffled = np.stack([rng.permutation(labels) for _ in range(3)])
        rows = rng.normal(size=(ours + theirs, 4)).astype(np.float32)
        folds.append(module._Fold(rows, shuffled))
    directions = module._directions(folds)
    for at, fold in enumerate(folds):
        others = [other for other in folds if other is not fold]
        rows = np.concatenate([other.vectors for other in others])
        aucs = module._auc(fold, directions[at])
        for line in range(3):
            is_ours = np.concatenate([other.labels[line] for other in others]) == 1
            expected = rows[is_ours].mean(axis=0) - rows[~is_ours].mean(axis=0)
            np.testing.assert_allclose(directions[at, line], expected, atol=1e-5)
            scores = fold.vectors @ directions[at, line]
            pairs = scores[fold.labels[line] == 1][:, None] > scores[fold.labels[line] == 0]
            assert abs(aucs[line] - pairs.mean()) < 1e-6
