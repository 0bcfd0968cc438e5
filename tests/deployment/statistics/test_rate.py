import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.deployment.statistics.mean import confidence_sequence
from llm_assets.deployment.statistics.rate import rate_sequence


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0.001, 0.2))
def test_the_interval_holds_what_was_observed_and_mirrors(
    n: int, mean: float, alpha: float
) -> None:
    low, high = rate_sequence(mean * n, n, alpha=alpha)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    mirrored = rate_sequence(n - mean * n, n, alpha=alpha)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_without_values_it_is_undefined() -> None:
    assert all(map(math.isnan, rate_sequence(0, 0, alpha=0.05)))


@pytest.mark.parametrize("n", [30, 100])
def test_where_nothing_fails_it_is_narrower_than_the_one_for_any_mean(n: int) -> None:
    narrow, wide = (of(0, n, alpha=0.002).high for of in (rate_sequence, confidence_sequence))
    assert narrow < wide


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_it_holds_at_every_look(rate: float) -> None:
    rng = np.random.default_rng(0)
    num_runs, misses = 300, 0
    looks = [10, 20, 40, 80, 160, 320, 640, 1280]
    for _ in range(num_runs):
        total = np.cumsum(rng.random(looks[-1]) < rate)
        intervals = [rate_sequence(float(total[n - 1]), n, alpha=0.1) for n in looks]
        misses += any(not low <= rate <= high for low, high in intervals)
    # Three standard deviations above what is allowed.
    assert misses / num_runs <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / num_runs)
