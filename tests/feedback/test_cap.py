from collections import Counter
from datetime import timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.feedback.cap import cap
from llm_assets.feedback.joining import join
from llm_assets.records import Feedback, Interaction
from tests.feedback.joined import about_session, interactions, signals, tables
from tests.records import TIME, a_correction, an_interaction

HOUR = timedelta(hours=1)


def over_cap(asked: list[Interaction], given: list[Feedback], *, most: int) -> set[str]:
    capped = cap(join(*tables(asked, given), max_days=30), max_per_user_and_day=most)
    return set(capped.filter("is_over_cap")["feedback_id"])


def test_of_a_user_and_day_the_first_signals_count() -> None:
    given = [
        a_correction(f"f{number}", f"r{number}", "x", user_id="u", time=TIME - number * HOUR)
        for number in range(4)
    ]
    assert over_cap([], given, most=2) == {"f0", "f1"}


def test_another_user_and_another_day_have_a_cap_of_their_own() -> None:
    given = [
        a_correction("f1", "r", "x", user_id="u"),
        a_correction("f2", "r", "x", user_id="v"),
        a_correction("f3", "r", "x", user_id="u", time=TIME + timedelta(days=1)),
        a_correction("f4", "r", "x", user_id="u", time=TIME + HOUR),
    ]
    assert over_cap([], given, most=1) == {"f4"}


def test_a_user_who_leaves_the_name_out_is_known_by_the_interaction() -> None:
    asked = [an_interaction(f"r{number}", user_id="u") for number in range(3)]
    given = [a_correction(f"f{number}", f"r{number}", "x") for number in range(3)]
    assert over_cap(asked, given, most=1) == {"f1", "f2"}


def test_without_a_user_a_session_stands_for_one_and_without_both_the_request() -> None:
    asked = [an_interaction(f"r{number}", session_id="s") for number in range(2)]
    given = [
        a_correction("f1", "r0", "x"),
        a_correction("f2", "r1", "x", time=TIME + HOUR),
        about_session("f3", "s", time=TIME + 2 * HOUR),
        a_correction("g1", "x", "x"),
        a_correction("g2", "y", "x"),
        a_correction("g3", "x", "x", time=TIME + HOUR),
    ]
    assert over_cap(asked, given, most=1) == {"f2", "f3", "g3"}


def _days_of_givers(frame: pl.DataFrame) -> Counter[tuple[str, str]]:
    rows = frame.filter(pl.col("kind") != "score").to_dicts()
    return Counter((str(row["time"].date()), row["user_id"]) for row in rows if row["user_id"])


@settings(max_examples=100)
@given(interactions(), signals(), st.integers(1, 4))
def test_nobody_has_more_than_the_cap_and_nobody_below_it_loses_anything(
    asked: list[Interaction], given: list[Feedback], most: int
) -> None:
    joined = join(*tables(asked, given), max_days=30)
    capped = cap(joined, max_per_user_and_day=most)
    assert capped.drop("is_over_cap").equals(joined)
    given_by, counted = (
        _days_of_givers(joined),
        _days_of_givers(capped.filter(~pl.col("is_over_cap"))),
    )
    assert counted == Counter({key: min(num, most) for key, num in given_by.items()})


@settings(max_examples=60)
@given(interactions(), signals(), st.integers(1, 3))
def test_neither_the_order_nor_other_days_nor_later_feedback_change_what_counts(
    asked: list[Interaction], given: list[Feedback], most: int
) -> None:
    joined = join(*tables(asked, given), max_days=30)
    over = set(cap(joined, max_per_user_and_day=most).filter("is_over_cap")["feedback_id"])
    backwards = cap(joined[::-1], max_per_user_and_day=most)
    assert set(backwards.filter("is_over_cap")["feedback_id"]) == over
    for until in joined["time"]:
        part = joined.filter(pl.col("time") <= until)
        earlier = set(cap(part, max_per_user_and_day=most).filter("is_over_cap")["feedback_id"])
        assert earlier == over & set(part["feedback_id"])


def test_scores_of_judges_take_nobody_s_place() -> None:
    asked = [an_interaction("r0", user_id="u")]
    scores = [
        Feedback.from_json(
            f'{{"feedback_id": "s{number}", "application": "helpdesk", "kind": "score", '
            f'"time": "2026-03-01T11:00:00Z", "request_id": "r0", "name": "judge", "value": 1}}'
        )
        for number in range(3)
    ]
    assert over_cap(asked, [*scores, a_correction("f1", "r0", "x")], most=1) == set()
