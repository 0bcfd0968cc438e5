from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.triggers.brakes import Budget, Cycle, budget, open_cycle, over_budget

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


def a_cycle(days_ago: float, hours: float | None) -> Cycle:
    return Cycle(started_at=NOW - timedelta(days=days_ago), hours=hours)


cycles = st.lists(st.builds(a_cycle, st.floats(0, 60), st.none() | st.floats(0, 40)), max_size=9)


def hours(cycles: list[Cycle], *, max_hours: float | None = None) -> Budget:
    return budget(cycles, max_hours=max_hours, expected_hours=1.5, now=NOW)


def test_the_hours_of_thirty_days_count_and_no_others() -> None:
    found = hours([a_cycle(30, 7), a_cycle(29.9, 2), a_cycle(1, 3), a_cycle(0, None)])
    assert found.used_hours == 5


def test_the_next_cycle_is_expected_to_take_the_median_of_the_last_five() -> None:
    assert hours([]).expected_hours == 1.5
    assert hours([a_cycle(0, None)]).expected_hours == 1.5
    newest_first = [a_cycle(days, hours) for days, hours in enumerate((0.0, 4, 6, 5, 90, 200, 300))]
    # A crash and a hanging run are among them, and do not matter.
    assert hours(newest_first).expected_hours == 5


def test_without_a_limit_there_is_always_enough() -> None:
    assert over_budget(hours([a_cycle(1, 10**6)])) is None


def test_a_cycle_that_just_fits_is_not_held() -> None:
    assert over_budget(hours([a_cycle(1, 4)], max_hours=8)) is None
    assert over_budget(hours([a_cycle(1, 4)], max_hours=7.9)) == (
        "4 of 7.9 GPU hours were used in 30 days, and a cycle takes 4"
    )


@given(cycles, st.floats(0.1, 100), st.floats(0, 10))
def test_a_larger_budget_never_holds_more_back(
    past: list[Cycle], max_hours: float, more: float
) -> None:
    enough = hours(past, max_hours=max_hours).is_enough
    assert hours(past, max_hours=max_hours + more).is_enough >= enough


@pytest.mark.parametrize(("past", "is_open"), [([2.0, None, 1.0], True), ([2.0, 0.0], False)])
def test_a_cycle_is_open_until_it_has_hours(past: list[float | None], is_open: bool) -> None:
    assert (open_cycle([a_cycle(1, hours) for hours in past]) is not None) == is_open
