import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers import run_length
from llm_assets.drift.triggers.run_length import expected_false_starts_per_year, mean_days_to_start

rates = st.floats(0.02, 1.0)
rules = st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


def simulated_days(rate: float, windows: int, needed: int, *, num_walks: int) -> np.ndarray:
    """Walk day by day until the rule is met, and return how many days each walk took."""
    rng = np.random.default_rng(7)
    days = np.zeros(num_walks)
    for walk in range(num_walks):
        drifted: list[bool] = []
        while sum(drifted[-windows:]) < needed:
            drifted.append(bool(rng.random() < rate))
        days[walk] = len(drifted)
    return days


@pytest.mark.parametrize(
    ("rate", "windows", "needed"),
    [(0.2, 3, 2), (0.3, 6, 4), (0.5, 5, 4), (0.9, 4, 4), (0.3, 30, 12)],
)
def test_the_mean_is_that_of_simulated_days(rate: float, windows: int, needed: int) -> None:
    days = simulated_days(rate, windows, needed, num_walks=1500)
    error = days.std() / math.sqrt(len(days))
    assert mean_days_to_start(rate, windows=windows, windows_needed=needed) == pytest.approx(
        days.mean(), abs=4 * error
    )


@given(rates, rules)
def test_the_equations_are_those_of_every_outcome_written_out(
    rate: float, rule: tuple[int, int]
) -> None:
    windows, needed = rule
    quiet = [s for s in itertools.product((0, 1), repeat=windows) if sum(s) < needed]
    place: dict[tuple[int, ...], int] = {state: row for row, state in enumerate(quiet)}
    to_next = np.zeros((len(quiet), len(quiet)))
    for state, row in place.items():
        for outcome, chance in ((1, rate), (0, 1 - rate)):
            if (newer := (*state[1:], outcome)) in place:
                to_next[row, place[newer]] += chance
    days = np.linalg.solve(np.eye(len(quiet)) - to_next, np.ones(len(quiet)))[place[(0,) * windows]]
    mean = mean_days_to_start(rate, windows=windows, windows_needed=needed)
    assert mean == pytest.approx(days, rel=1e-3 if days > 1e9 else 1e-6)


@given(rates, st.integers(2, 8))
def test_a_run_without_gaps_is_the_closed_form(rate: float, windows: int) -> None:
    expected = sum(rate**-day for day in range(1, windows + 1))
    mean = mean_days_to_start(rate, windows=windows, windows_needed=windows)
    assert mean == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30)
@given(rates, st.integers(8, 9), st.data())
def test_what_is_too_large_for_the_equations_is_within_three_hundredths(
    rate: float, windows: int, data: st.DataObject
) -> None:
    needed = data.draw(st.integers(3, windows))
    exact = run_length._exact(rate, windows, needed)
    if exact < 1e12:
        near = run_length._by_scan_statistic(rate, windows, needed)
        assert near == pytest.approx(exact, rel=0.03)


@given(rates, rules, st.integers(11, 60))
def test_more_windows_or_fewer_needed_start_sooner(
    rate: float, rule: tuple[int, int], many: int
) -> None:
    windows, needed = rule
    days = mean_days_to_start(rate, windows=windows, windows_needed=needed)
    assert days >= needed * (1 - 1e-9)
    wider = mean_days_to_start(rate, windows=windows + 1, windows_needed=needed)
    assert wider <= days * (1 + 1e-9)
    stricter = mean_days_to_start(rate, windows=windows + 1, windows_needed=needed + 1)
    assert stricter >= wider * (1 - 1e-9)
    assert mean_days_to_start(rate, windows=many, windows_needed=needed) <= wider * (1 + 1e-3)


def test_what_never_drifts_never_starts() -> None:
    assert mean_days_to_start(0.0, windows=3, windows_needed=2) == math.inf


def test_a_sure_detector_takes_as_many_days_as_are_needed() -> None:
    assert mean_days_to_start(1.0, windows=60, windows_needed=20) == pytest.approx(20)
    assert mean_days_to_start(1.0, windows=5, windows_needed=3) == pytest.approx(3)


def test_the_rule_makes_false_starts_far_rarer_than_false_alarms() -> None:
    single = DriftConfig(false_alarms_per_year=12, windows=1, windows_needed=1)
    assert expected_false_starts_per_year(single) == pytest.approx(12)
    assert expected_false_starts_per_year(DriftConfig(false_alarms_per_year=12)) < 1
    strict = DriftConfig(false_alarms_per_year=1, windows=60, windows_needed=40)
    assert 0 <= expected_false_starts_per_year(strict) < 1e-9
