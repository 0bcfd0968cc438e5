import math
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.validation.volume import usual_rows

MONDAY = date(2026, 3, 30)


def weeks_of(*counts: int) -> dict[date, int]:
    """Return the rows of the Mondays before, the newest first."""
    return {MONDAY - timedelta(weeks=n): count for n, count in enumerate(counts, start=1)}


def test_the_median_of_four_weeks_decides_and_older_ones_do_not() -> None:
    usual = usual_rows(MONDAY, weeks_of(100, 400, 300, 200, 9999), tolerance=0.5)
    assert (usual.num_weeks, usual.median) == (4, 250)


def test_other_weekdays_say_nothing() -> None:
    days = {MONDAY - timedelta(days=n): 10 if n % 7 == 0 else 999 for n in range(1, 29)}
    assert usual_rows(MONDAY, days, tolerance=0.5).median == 10


def test_a_day_without_traffic_counts_as_none_and_one_before_the_first_not_at_all() -> None:
    days = {MONDAY - timedelta(weeks=3): 100, MONDAY - timedelta(weeks=1): 100}
    usual = usual_rows(MONDAY, days, tolerance=0.5)
    assert (usual.num_weeks, usual.median) == (3, 100)
    assert usual_rows(MONDAY, weeks_of(100, 100), tolerance=0.5).num_weeks == 2


def test_one_week_is_too_little_to_know_what_is_usual() -> None:
    usual = usual_rows(MONDAY, weeks_of(100), tolerance=0.5)
    assert usual.num_weeks == 1
    assert math.isnan(usual.median)
    assert usual.excess(10**6, is_over=True) is None
    assert usual_rows(MONDAY, {}, tolerance=0.5).num_weeks == 0


def test_too_many_and_too_few_are_told_by_how_much() -> None:
    usual = usual_rows(MONDAY, weeks_of(100, 100), tolerance=0.5)
    assert (usual.low, usual.high) == (20, 230)
    assert usual.excess(231, is_over=True) == 1
    assert usual.excess(15, is_over=True) == -5
    assert usual.excess(20, is_over=True) == 0


def test_a_day_that_is_not_over_may_still_grow() -> None:
    usual = usual_rows(MONDAY, weeks_of(100, 100), tolerance=0.5)
    assert usual.excess(0, is_over=False) == 0
    assert usual.excess(1000, is_over=False) == 770


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=4), st.floats(0.01, 0.99))
def test_the_median_is_always_usual(counts: list[int], tolerance: float) -> None:
    usual = usual_rows(MONDAY, weeks_of(*counts), tolerance=tolerance)
    assert usual.excess(round(usual.median), is_over=True) == 0
