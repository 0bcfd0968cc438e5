import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.deployment.statistics.difference import difference, log_evidence
from llm_assets.deployment.statistics.mean import confidence_sequence
from llm_assets.intervals import newcombe
from tests.deployment.statistics.looks import draw
from tests.deployment.statistics.test_mean import sums

Arm = tuple[float, int]
SHARES = st.sampled_from([0.01, 0.05, 0.5, 0.75])
LIMIT = -math.log(0.05)


@settings(deadline=None)
@given(sums(), sums(), st.floats(0.001, 0.5), SHARES)
def test_the_interval_holds_what_was_observed(
    first: Arm, second: Arm, alpha: float, share: float
) -> None:
    low, high = difference(*first, *second, alpha=alpha, share=share)
    assert -1 <= low <= first[0] / first[1] - second[0] / second[1] <= high <= 1


@settings(deadline=None)
@given(sums(), sums(), SHARES)
def test_exchanging_the_arms_mirrors_the_interval(first: Arm, second: Arm, share: float) -> None:
    low, high = difference(*first, *second, alpha=0.05, share=share)
    mirrored = difference(*second, *first, alpha=0.05, share=1 - share)
    assert mirrored == pytest.approx((-high, -low), abs=2e-3)


@settings(deadline=None)
@given(sums(), sums(), st.floats(0.001, 0.2))
def test_more_confidence_gives_an_interval_around_the_narrower_one(
    first: Arm, second: Arm, alpha: float
) -> None:
    narrow = difference(*first, *second, alpha=2 * alpha)
    wide = difference(*first, *second, alpha=alpha)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 100))
def test_more_draws_of_the_same_means_give_a_narrower_interval(
    first: int, second: int, times: int
) -> None:
    few = difference(first * times, 20 * times, second * times, 20 * times, alpha=0.05)
    times *= 2
    many = difference(first * times, 20 * times, second * times, 20 * times, alpha=0.05)
    assert many.high - many.low < few.high - few.low


@settings(deadline=None)
@given(sums(), sums(), SHARES, st.floats(0, 1), st.floats(0, 1))
def test_two_means_whose_difference_is_outside_of_it_have_enough_evidence_against_them(
    first: Arm, second: Arm, share: float, first_mean: float, second_mean: float
) -> None:
    low, high = difference(*first, *second, alpha=0.05, share=share)
    if not low <= first_mean - second_mean <= high:
        assert log_evidence(*first, *second, first_mean, second_mean, share=share) >= LIMIT


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 2000), st.integers(20, 2000), st.floats(0, 1), st.floats(0, 1))
def test_each_end_is_where_no_pair_of_means_is_plausible_any_more(
    first_n: int, second_n: int, first_rate: float, second_rate: float
) -> None:
    arms = (round(first_n * first_rate), first_n, round(second_n * second_rate), second_n)
    low, high = difference(*arms, alpha=0.05)
    for inside in (low + (high - low) / 100, high - (high - low) / 100):
        means = np.linspace(max(0, -inside), min(1, 1 - inside), 20_000)
        assert log_evidence(*arms, means + inside, means, share=0.5).min() < LIMIT


def test_the_interval_is_narrower_than_two_intervals_side_by_side() -> None:
    for arms in ((60, 100, 50, 100), (330, 500, 250, 500), (100, 200, 1800, 3800)):
        share = arms[1] / (arms[1] + arms[3])
        low, high = difference(*arms, alpha=0.05, share=share)
        first = confidence_sequence(*arms[:2], alpha=0.025)
        second = confidence_sequence(*arms[2:], alpha=0.025)
        assert high - low < 0.8 * (first.high - first.low + second.high - second.low)


def test_to_look_whenever_one_likes_costs_two_thirds_of_the_width_of_a_single_look() -> None:
    low, high = difference(330, 500, 250, 500, alpha=0.05)
    single = newcombe(330, 500, 250, 500)
    assert 1 < (high - low) / (single.high - single.low) < 5 / 3


def test_a_plan_of_the_shares_that_were_dealt_gives_the_narrowest_interval() -> None:
    widths = {}
    for share in (0.05, 0.5, 0.95):
        low, high = difference(50, 100, 950, 1900, alpha=0.05, share=share)
        widths[share] = high - low
    assert widths[0.05] < widths[0.5] < widths[0.95]


def test_nothing_seen_of_an_arm_is_nothing_known() -> None:
    assert all(map(math.isnan, difference(0, 0, 5, 10, alpha=0.05)))
    assert all(map(math.isnan, difference(5, 10, 0, 0, alpha=0.05)))


@pytest.mark.parametrize(
    ("rates", "share", "planned"),
    [((0.5, 0.5), 0.5, 0.5), ((0.9, 0.8), 0.05, 0.05), ((0.05, 0.05), 0.2, 0.5)],
)
def test_who_looks_after_every_sample_is_wrong_in_few_trials(
    rates: tuple[float, float], share: float, planned: float
) -> None:
    rng = np.random.default_rng(0)
    looks = draw(rng, num_trials=400, num_looks=1000, rates=rates, share=share)
    # The evidence against the true means is more than that against their difference.
    is_doubtful = log_evidence(*looks, *rates, share=planned) >= LIMIT
    num_wrong = 0
    for trial in np.flatnonzero(is_doubtful.any(axis=1)):
        num_wrong += any(
            not low <= rates[0] - rates[1] <= high
            for look in np.flatnonzero(is_doubtful[trial])
            for low, high in [
                difference(*(int(c[trial, look]) for c in looks), alpha=0.05, share=planned)
            ]
        )
    assert num_wrong / 400 <= 0.05


def test_dealing_the_requests_by_what_was_seen_leaves_the_interval_valid() -> None:
    rng = np.random.default_rng(2)
    totals, ns = np.zeros((2, 400)), np.zeros((2, 400))
    is_wrong = np.zeros(400, dtype=bool)
    for _ in range(500):
        is_ahead = totals[0] * (ns[1] + 1) > totals[1] * (ns[0] + 1)
        to_first = rng.random(400) < np.where(is_ahead, 0.9, 0.1)
        is_success = rng.random(400) < 0.5
        for arm, to_arm in enumerate((to_first, ~to_first)):
            ns[arm] += to_arm
            totals[arm] += to_arm & is_success
        evidence = log_evidence(totals[0], ns[0], totals[1], ns[1], 0.5, 0.5, share=0.5)
        is_wrong |= evidence >= LIMIT
    assert is_wrong.mean() <= 0.05
