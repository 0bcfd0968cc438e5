import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.intervals import wilson


@settings(deadline=None)
@given(n=st.integers(1, 10_000), data=st.data())
def test_the_interval_holds_the_rate_and_stays_between_0_and_1(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@settings(deadline=None)
@given(n=st.integers(1, 1000), data=st.data())
def test_counting_the_failures_instead_mirrors_the_interval(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_a_rate_of_nothing_has_no_interval() -> None:
    assert all(math.isnan(end) for end in wilson(0, 0))


def test_more_successes_than_trials_are_our_mistake() -> None:
    with pytest.raises(AssertionError, match="3 successes of 2"):
        wilson(3, 2)
