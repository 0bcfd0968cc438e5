from datetime import date, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings

from llm_assets.feedback.joining import JOINED_BY, join, known_ids, without_interaction
from llm_assets.records import Feedback, Interaction
from tests.feedback.joined import about_session, interactions, signals, tables
from tests.records import TIME, a_correction, an_interaction

HOUR = timedelta(hours=1)


def joined(
    asked: list[Interaction], given: list[Feedback], *, max_days: int = 30
) -> dict[str, dict[str, Any]]:
    frame = join(*tables(asked, given), max_days=max_days)
    return {row["feedback_id"]: row for row in frame.to_dicts()}


def test_feedback_by_an_alias_gets_the_id_of_its_interaction() -> None:
    asked = [an_interaction("r1", aliases=["trace-1", "span-1"]), an_interaction("r2")]
    given = [a_correction("f1", "trace-1", "x"), a_correction("f2", "r2", "x")]
    found = joined(asked, given)
    assert found["f1"]["request_id"] == "r1"
    assert found["f2"]["request_id"] == "r2"
    assert not found["f1"]["is_session_level"]


def test_of_interactions_that_share_an_alias_the_last_one_before_the_feedback_is_meant() -> None:
    asked = [
        an_interaction(f"r{number}", aliases=["trace"], time=TIME + number * HOUR)
        for number in range(3)
    ]
    given = [
        a_correction("between", "trace", "x", time=TIME + 1.5 * HOUR),
        a_correction("same-moment", "trace", "x", time=TIME + HOUR),
        a_correction("after", "trace", "x", time=TIME + 9 * HOUR),
        a_correction("before", "trace", "x", time=TIME - HOUR),
    ]
    found = {name: row["request_id"] for name, row in joined(asked, given).items()}
    assert found == {"between": "r1", "same-moment": "r1", "after": "r2", "before": "r0"}


def test_an_id_of_its_own_comes_before_an_alias() -> None:
    asked = [an_interaction("r1"), an_interaction("r2", aliases=["r1"], time=TIME + HOUR)]
    found = joined(asked, [a_correction("f1", "r1", "x", time=TIME + 2 * HOUR)])
    assert found["f1"]["request_id"] == "r1"


def test_feedback_on_a_session_counts_for_its_last_interaction_before_it_and_says_so() -> None:
    asked = [
        an_interaction("r1", session_id="s"),
        an_interaction("r2", session_id="s", time=TIME + HOUR),
        an_interaction("r3", session_id="s", time=TIME + 3 * HOUR),
    ]
    found = joined(asked, [about_session("f1", "s", time=TIME + 2 * HOUR)])
    assert found["f1"]["request_id"] == "r2"
    assert found["f1"]["is_session_level"]


def test_feedback_of_an_unknown_request_or_session_stays_as_it_came() -> None:
    found = joined([an_interaction("r1")], [a_correction("f1", "x", "x"), about_session("f2", "x")])
    assert found["f1"]["request_id"] == "x"
    assert found["f2"]["request_id"] is None
    assert found["f2"]["is_session_level"]


def test_feedback_without_a_user_is_of_the_user_who_asked() -> None:
    asked = [an_interaction("r1", user_id="u", session_id="s")]
    given = [a_correction("f1", "r1", "x"), a_correction("f2", "r1", "x", user_id="other")]
    found = joined(asked, given)
    assert (found["f1"]["user_id"], found["f1"]["session_id"]) == ("u", "s")
    assert found["f2"]["user_id"] == "other"


def test_an_alias_is_looked_for_no_further_back_than_feedback_may_be_late() -> None:
    asked = [an_interaction("r1", aliases=["t"])]
    given = [
        a_correction("in-time", "t", "x", time=TIME + timedelta(days=7)),
        a_correction("late", "t", "x", time=TIME + timedelta(days=7, seconds=1)),
    ]
    found = joined(asked, given, max_days=7)
    assert found["in-time"]["request_id"] == "r1"
    assert found["late"]["request_id"] == "t"


def test_interactions_of_an_older_version_without_aliases_are_joined_by_their_id() -> None:
    feedback, asked = tables([an_interaction("r1", user_id="u")], [a_correction("f1", "r1", "x")])
    older = asked.with_columns(aliases=pl.lit(None, pl.List(pl.String)))
    assert join(feedback, older, max_days=30)["user_id"].to_list() == ["u"]
    assert known_ids(older)["id"].to_list() == ["r1"]


@settings(max_examples=150)
@given(interactions(), signals())
def test_each_feedback_is_joined_as_the_rule_says(
    asked: list[Interaction], given: list[Feedback]
) -> None:
    found = joined(asked, given, max_days=5)
    assert len(found) == len(given)
    for feedback in given:
        meant = _meant(asked, feedback, max_days=5)
        row = found[feedback.feedback_id]
        expected = feedback.request_id if meant is None else meant.request_id
        assert row["request_id"] == expected
        assert row["user_id"] == (feedback.user_id or (meant.user_id if meant else None))
        assert row["text"] == feedback.text


def _meant(asked: list[Interaction], feedback: Feedback, *, max_days: int) -> Interaction | None:
    named = feedback.request_id
    candidates = [
        [i for i in asked if i.request_id == named],
        [i for i in asked if named in i.aliases],
    ]
    if named is None:
        candidates = [[i for i in asked if i.session_id == feedback.session_id]]
    for same in candidates:
        earliest = feedback.time - timedelta(days=max_days)
        before = [i for i in same if earliest <= i.time <= feedback.time]
        after = [i for i in same if feedback.time < i.time <= feedback.time + timedelta(days=1)]
        if before:
            return max(before, key=lambda i: (i.time, i.request_id))
        if after:
            return min(after, key=lambda i: (i.time, i.request_id))
    return None


@settings(max_examples=60)
@given(interactions(), signals())
def test_days_joined_alone_are_joined_as_all_together(
    asked: list[Interaction], given: list[Feedback]
) -> None:
    feedback, rows = tables(asked, given)
    whole = join(feedback, rows, max_days=3)
    for day in feedback["time"].dt.date().unique().to_list():
        assert isinstance(day, date)
        near = pl.col("time").dt.date().is_between(day - timedelta(days=3), day + timedelta(days=1))
        alone = join(
            feedback.filter(pl.col("time").dt.date() == day),
            rows.filter(near).select(JOINED_BY),
            max_days=3,
        )
        assert alone.equals(whole.filter(pl.col("time").dt.date() == day))


@settings(max_examples=60)
@given(interactions(), signals())
def test_an_interaction_is_known_by_its_id_its_aliases_and_its_session(
    asked: list[Interaction], given: list[Feedback]
) -> None:
    feedback, rows = tables(asked, given)
    requests = {i.request_id for i in asked} | {alias for i in asked for alias in i.aliases}
    sessions = {i.session_id for i in asked}
    expected = {
        f.feedback_id
        for f in given
        if (f.request_id not in requests if f.request_id else f.session_id not in sessions)
    }
    unknown = without_interaction(feedback, known_ids(rows))
    assert set(unknown["feedback_id"]) == expected
    assert unknown.schema == feedback.schema
