import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.triggers.benefit import Worth, worth


def of_share(share: float) -> Worth:
    return worth(
        share,
        requests_a_day=100,
        benefit_days=10,
        expected_gain=0.5,
        value_per_better_answer=0.1,
        expected_hours=2,
        gpu_hour_cost=5,
    )


def test_a_cycle_that_just_pays_is_worth_it() -> None:
    assert of_share(0.2) == pytest.approx((10, 10))
    assert of_share(0.19).is_too_little


def test_an_unknown_benefit_is_no_reason_against_a_cycle() -> None:
    assert not of_share(math.nan).is_too_little


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_brings_more_at_the_same_cost(first: float, second: float) -> None:
    less, more = sorted((first, second))
    assert of_share(less).benefit <= of_share(more).benefit
    assert of_share(less).cost == of_share(more).cost
