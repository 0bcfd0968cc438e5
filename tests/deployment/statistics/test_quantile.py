import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.deployment.statistics.quantile import quantile_sequence

VALUES = st.lists(st.integers(0, 30).map(float), max_size=300).map(sorted)
QUANTILES = st.floats(0.01, 0.99)


@given(VALUES, QUANTILES)
def test_the_interval_holds_the_observed_quantile(values: list[float], q: float) -> None:
    low, high = quantile_sequence(values, q, alpha=0.05)
    if values:
        assert low <= np.quantile(values, q, method="inverted_cdf") <= high


@given(VALUES, QUANTILES, st.floats(0.001, 0.2))
def test_more_confidence_gives_an_interval_around_the_narrower_one(
    values: list[float], q: float, alpha: float
) -> None:
    narrow = quantile_sequence(values, q, alpha=2 * alpha)
    wide = quantile_sequence(values, q, alpha=alpha)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(VALUES, QUANTILES)
def test_turning_the_values_round_mirrors_the_interval(values: list[float], q: float) -> None:
    low, high = quantile_sequence(values, q, alpha=0.05)
    mirrored = quantile_sequence([-value for value in reversed(values)], 1 - q, alpha=0.05)
    assert mirrored == (-high, -low)


def test_too_few_values_leave_an_end_open() -> None:
    assert quantile_sequence([], 0.5, alpha=0.05) == (-math.inf, math.inf)
    low, high = quantile_sequence(list(range(100)), 0.95, alpha=0.05)
    assert (0 < low < 95, high) == (True, math.inf)


@pytest.mark.parametrize("is_rounded", [False, True])
@pytest.mark.parametrize("q", [0.5, 0.95])
def test_who_looks_after_every_value_is_wrong_in_few_trials(q: float, is_rounded: bool) -> None:
    rng = np.random.default_rng(3)
    truth, num_wrong = -math.log(1 - q), 0
    for _ in range(200):
        values = rng.exponential(size=400)
        if is_rounded:
            values = np.ceil(values)
            truth = math.ceil(-math.log(1 - q))
        num_wrong += any(
            not low <= truth <= high
            for n in range(1, 400, 13)
            for low, high in [quantile_sequence(np.sort(values[:n]).tolist(), q, alpha=0.05)]
        )
    assert num_wrong / 200 <= 0.05
