import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.deployment.statistics.mean import confidence_sequence
from llm_assets.deployment.statistics.mixture import log_evidence


@st.composite
def sums(draw: st.DrawFn) -> tuple[float, int]:
    """Return a sum of variables in [0, 1], often a count, and their number."""
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n) | st.floats(0, n, allow_subnormal=False)), n


@given(sums(), st.floats(0.001, 0.5))
def test_the_interval_holds_what_was_observed(arm: tuple[float, int], alpha: float) -> None:
    total, n = arm
    low, high = confidence_sequence(total, n, alpha=alpha)
    assert 0 <= low <= total / n <= high <= 1


@given(sums(), st.floats(0.001, 0.2))
def test_more_confidence_gives_an_interval_around_the_narrower_one(
    arm: tuple[float, int], alpha: float
) -> None:
    narrow = confidence_sequence(*arm, alpha=2 * alpha)
    wide = confidence_sequence(*arm, alpha=alpha)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(sums())
def test_exchanging_0_and_1_mirrors_the_interval(arm: tuple[float, int]) -> None:
    total, n = arm
    low, high = confidence_sequence(total, n, alpha=0.05)
    mirrored = confidence_sequence(n - total, n, alpha=0.05)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-4)


@given(st.integers(0, 20), st.integers(1, 100))
def test_more_draws_of_the_same_mean_give_a_narrower_interval(total: int, times: int) -> None:
    few = confidence_sequence(total * times, 20 * times, alpha=0.05)
    many = confidence_sequence(2 * total * times, 40 * times, alpha=0.05)
    assert many.high - many.low < few.high - few.low


@given(sums(), st.floats(0.001, 0.999))
def test_the_means_outside_of_it_are_those_with_enough_evidence_against_them(
    arm: tuple[float, int], mean: float
) -> None:
    low, high = confidence_sequence(*arm, alpha=0.05)
    if not low <= mean <= high:
        assert log_evidence(*arm, mean) >= -math.log(0.05)
    if low + 1e-3 < mean < high - 1e-3:
        assert log_evidence(*arm, mean) < -math.log(0.05)


@given(sums())
def test_the_evidence_is_convex_in_the_mean_whatever_the_sum(arm: tuple[float, int]) -> None:
    evidence = log_evidence(*arm, np.linspace(0.001, 0.999, 500))
    assert np.diff(evidence, n=2).min() >= -1e-6 * max(1.0, np.abs(evidence).max())


def test_nothing_seen_is_nothing_known() -> None:
    assert all(map(math.isnan, confidence_sequence(0, 0, alpha=0.05)))


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_who_looks_after_every_sample_is_wrong_in_few_trials(rate: float) -> None:
    rng = np.random.default_rng(1)
    totals = (rng.random((1000, 1000)) < rate).cumsum(axis=1)
    evidence = log_evidence(totals, np.arange(1, 1001), rate)
    assert (evidence.max(axis=1) >= -math.log(0.05)).mean() <= 0.05


@settings(max_examples=5)
@given(st.integers(0, 10))
def test_scores_between_0_and_1_are_covered_as_counts_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    totals = rng.beta(0.2, 0.8, (400, 500)).cumsum(axis=1)
    evidence = log_evidence(totals, np.arange(1, 501), 0.2)
    assert (evidence.max(axis=1) >= -math.log(0.05)).mean() <= 0.05
