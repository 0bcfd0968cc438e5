from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.arrivals import (
    Cursor,
    DateRange,
    Seen,
    days_to_process,
    look,
    read_cursor,
    write_cursor,
)

KEYS = ("interactions|helpdesk|2026-03-01", "feedback|helpdesk|2026-03-01", "feedback|bank|d")
# What arrives between two looks: bytes for each key, often none.
GROWTH = st.lists(st.tuples(*(st.sampled_from([0, 0, 1, 1000]) for _ in KEYS)), max_size=40)

MARCH = [date(2026, 3, day) for day in range(1, 32)]


def days(*numbers: int) -> list[date]:
    return [MARCH[number - 1] for number in numbers]


@given(GROWTH, st.integers(1, 5))
def test_every_byte_is_worked_through_once_it_is_quiet_and_no_day_is_due_without_growth(
    growth: list[tuple[int, ...]], max_looks: int
) -> None:
    sizes: dict[str, int] = dict.fromkeys(KEYS, 0)
    worked_through: dict[str, int] = dict.fromkeys(KEYS, 0)
    cursor: Cursor = {}
    # The last two looks find nothing new: the burst is over.
    for arrived in [*growth, (0, 0, 0), (0, 0, 0)]:
        sizes = {key: sizes[key] + new for key, new in zip(KEYS, arrived, strict=True)}
        due, cursor = look(read_cursor(write_cursor(cursor)), sizes, max_looks=max_looks)
        for key in due:
            assert sizes[key] > worked_through[key]
            worked_through[key] = sizes[key]
    assert worked_through == sizes


@given(st.integers(1, 10))
def test_a_day_that_never_rests_is_due_all_the_same(max_looks: int) -> None:
    cursor: Cursor = {}
    num_due = 0
    for size in range(1, 4 * (max_looks + 1) + 1):
        due, cursor = look(cursor, {"day": size}, max_looks=max_looks)
        num_due += bool(due)
    assert num_due == 4


def test_a_growing_day_waits_while_a_quiet_one_is_due() -> None:
    _, cursor = look({}, {"growing": 1, "quiet": 5})
    due, cursor = look(cursor, {"growing": 2, "quiet": 5})
    assert due == ["quiet"]
    assert cursor["growing"] == Seen(size=2, processed=0, num_looks=2)
    assert cursor["quiet"] == Seen(size=5, processed=5)


def test_the_cursor_forgets_days_that_are_gone() -> None:
    _, cursor = look({}, {"old": 1})
    assert look(cursor, {})[1] == {}


@pytest.mark.parametrize("text", [None, ""])
def test_there_is_no_cursor_at_the_start(text: str | None) -> None:
    assert read_cursor(text) == {}


@pytest.mark.parametrize(
    ("interaction_days", "feedback_days", "expected"),
    [
        ([], [], []),
        (days(5, 3, 9), [], [(3, 9)]),
        # What is said on the ninth may be about the second.
        ([], days(9), [(2, 9)]),
        (days(20), days(9), [(2, 20)]),
        (days(1), days(9), [(1, 9)]),
    ],
)
def test_late_feedback_reaches_back(
    interaction_days: list[date], feedback_days: list[date], expected: list[tuple[int, int]]
) -> None:
    found = days_to_process(interaction_days, feedback_days, late_feedback_days=7)
    assert found == [DateRange(*days(*ends)) for ends in expected]


def test_logs_of_another_year_are_a_range_of_their_own() -> None:
    old = date(2024, 5, 1)
    found = days_to_process([old, *days(3, 4)], [], late_feedback_days=7)
    assert found == [DateRange(old, old), DateRange(*days(3, 4))]
