import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.intervals import newcombe, wilson


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


counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts)
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    low, high = newcombe(*one, *other)
    assert -1 - 1e-9 <= low <= one[0] / one[1] - other[0] / other[1] <= high <= 1 + 1e-9
    assert newcombe(*other, *one) == pytest.approx((-high, -low))


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    draws = zip(rng.binomial(80, 0.1, 2000), rng.binomial(300, 0.04, 2000), strict=True)
    intervals = [newcombe(int(x), 80, int(y), 300) for x, y in draws]
    coverage = np.mean([low <= 0.06 <= high for low, high in intervals])
    assert 0.93 < coverage < 0.98


def test_the_interval_of_nothing_is_undefined() -> None:
    assert np.isnan(newcombe(0, 0, 1, 2)).all()
