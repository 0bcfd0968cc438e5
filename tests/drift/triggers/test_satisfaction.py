import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.triggers.outcomes import Outcomes
from llm_assets.drift.triggers.satisfaction import satisfaction_change
from llm_assets.intervals import wilson


def verdicts(num_content: int, n: int) -> Outcomes:
    return Outcomes(num_verdicts=n, num_content=num_content)


@st.composite
def sides(draw: st.DrawFn) -> Outcomes:
    n = draw(st.integers(1, 500))
    return verdicts(draw(st.integers(0, n)), n)


def test_the_upper_end_is_newcombes() -> None:
    # The first example of table II in Newcombe's paper, 56/70 less 48/80: 95 %, two-sided.
    change = satisfaction_change(verdicts(48, 80), verdicts(56, 70), false_alarm_rate=0.025)
    assert change.difference == pytest.approx(0.2)
    assert change.highest == pytest.approx(0.3339, abs=5e-5)


@pytest.mark.parametrize("rate", [12 / 365, 0.2])
@pytest.mark.parametrize(("satisfaction", "n_before"), [(0.85, 2000), (0.5, 100), (0.97, 400)])
def test_unchanged_satisfaction_falls_no_more_often_than_the_rate(
    rate: float, satisfaction: float, n_before: int
) -> None:
    rng = np.random.default_rng(0)
    num_windows, n = 1000, 80
    before = rng.binomial(n_before, satisfaction, num_windows)
    recent = rng.binomial(n, satisfaction, num_windows)
    num_alarms = sum(
        satisfaction_change(
            verdicts(int(old), n_before), verdicts(int(new), n), false_alarm_rate=rate
        ).highest
        < 0
        for old, new in zip(before, recent, strict=True)
    )
    low, high = wilson(num_alarms, num_windows)
    # Counts are whole and the test errs on the side of no alarm where few users are content.
    assert low <= rate
    assert high >= rate / 2


def test_a_fall_of_a_tenth_is_seen_in_two_hundred_verdicts() -> None:
    rng = np.random.default_rng(0)
    highest = [
        satisfaction_change(
            verdicts(1700, 2000), verdicts(int(new), 200), false_alarm_rate=12 / 365
        ).highest
        for new in rng.binomial(200, 0.75, 200)
    ]
    assert np.mean(np.array(highest) < 0) > 0.9


@given(sides(), sides(), st.floats(0.001, 0.4))
def test_the_upper_end_lies_above_the_difference(
    before: Outcomes, recent: Outcomes, rate: float
) -> None:
    change = satisfaction_change(before, recent, false_alarm_rate=rate)
    assert change.difference <= change.highest <= 1
    stricter = satisfaction_change(before, recent, false_alarm_rate=rate / 2)
    assert stricter.highest >= change.highest


@pytest.mark.parametrize("sides", [(verdicts(0, 0), verdicts(1, 2)), (verdicts(1, 2), Outcomes())])
def test_without_verdicts_there_is_no_number(sides: tuple[Outcomes, Outcomes]) -> None:
    assert all(map(math.isnan, satisfaction_change(*sides, false_alarm_rate=0.03)))
