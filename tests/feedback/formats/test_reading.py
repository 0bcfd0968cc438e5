import dataclasses
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.formats.reading import (
    Parts,
    Reading,
    count_of,
    derived_id,
    digest,
    distinct_identifiers,
    identifier,
    number_of,
    required_identifier,
    seconds_between,
    session_of,
    time_of,
)
from tests.records import an_interaction

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "given",
    [
        "2026-03-02T09:00:00Z",
        "2026-03-02T10:00:00+01:00",
        "2026-03-02 09:00:00",
        "1772442000",
        1772442000,
        1772442000.0,
        1772442000_000,
        1772442000_000_000,
        "1772442000000000000",
    ],
)
def test_a_time_is_iso_or_a_number_of_any_unit(given: Any) -> None:
    assert time_of(given, "time") == NINE


@given(st.datetimes(datetime(2023, 1, 2), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_every_unit_of_a_time_gives_the_same_time(time: datetime) -> None:
    time = time.replace(tzinfo=UTC, microsecond=0)
    seconds = int(time.timestamp())
    assert {time_of(seconds * 10**power, "time") for power in (0, 3, 6, 9)} == {time}


@pytest.mark.parametrize(
    "given",
    [None, True, "", "noon", "2022-12-31", 0, -1, 10**400, math.nan, math.inf, [], {}, "inf"],
)
def test_what_is_no_time_of_ours_is_refused_without_its_text(given: Any) -> None:
    with pytest.raises(UserError, match=r"^time: must be a time") as caught:
        time_of(given, "time")
    assert "noon" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (7, 7), (7.0, 7), (-1, None), (7.5, None), (True, None), ("7", None), (2**60, None)],
)
def test_a_count_is_a_whole_number_of_sense(value: Any, count: int | None) -> None:
    assert count_of(value) == count


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (-0.5, -0.5), (True, None), ("1", None), (math.nan, None), (10**400, None)],
)
def test_a_number_is_finite(value: Any, number: float | None) -> None:
    assert number_of(value) == number


@pytest.mark.parametrize(
    ("value", "found"),
    [("a", "a"), (7, "7"), ("x" * 200, "x" * 200), ("x" * 201, None), ("", None), (True, None)],
)
def test_an_id_is_a_number_or_a_text_of_1_to_200(value: Any, found: str | None) -> None:
    assert identifier(value) == found


def test_an_id_that_is_needed_is_the_first_that_is_one() -> None:
    assert required_identifier({"a": "", "b": "x"}, "a", "b") == "x"
    with pytest.raises(UserError, match=r"^a: must be an id of 1 to 200 characters, got None$"):
        required_identifier({}, "a", "b")


def test_aliases_are_distinct_and_other_than_the_id() -> None:
    assert distinct_identifiers("a", None, "b", "a", "", "c", other_than="c") == ["a", "b"]


def test_a_derived_id_is_no_longer_than_an_id_may_be() -> None:
    assert derived_id("s1", "comment") == "s1-comment"
    long, other = derived_id("x" * 200, "comment"), derived_id("x" * 199, "comment")
    assert len(long) <= 200
    assert long != other


def test_a_digest_depends_on_the_content_and_not_on_the_order_of_keys() -> None:
    assert digest([{"a": "1", "b": "2"}], "x") == digest([{"b": "2", "a": "1"}], "x")
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("cut \ud83d")) == 16


@pytest.mark.parametrize(
    ("end", "seconds"),
    [(NINE + timedelta(seconds=2), 2), (NINE - timedelta(seconds=2), None), (None, None)],
)
def test_a_latency_is_never_negative(end: datetime | None, seconds: float | None) -> None:
    assert seconds_between(NINE, end and end.isoformat()) == seconds


def test_the_first_place_that_knows_the_session_tells_it() -> None:
    assert session_of(None, {"session_id": ""}, {"thread_id": "t"}, {"session_id": "s"}) == "t"
    assert session_of({}, "x") is None


def test_a_part_that_breaks_a_rule_is_a_problem_and_others_are_kept() -> None:
    parts = Parts()
    parts.add(Reading([], ["first"], 2))
    with parts.part("one"):
        raise UserError("id: is missing")
    with parts.part("two"):
        dataclasses.replace(an_interaction("r1"), request_id="jane@example.com" * 20)
    with parts.part("three"):
        parts.num_passed_over += 1
    records, problems, num_passed_over = parts.reading()
    assert (records, num_passed_over) == ([], 3)
    assert problems[:2] == ["first", "one: id: is missing"]
    assert problems[2].startswith("two: request_id: ")
    assert problems[2].endswith("got a text of 320 characters")


def test_what_is_no_rule_is_not_a_problem_of_the_data() -> None:
    with pytest.raises(KeyError), Parts().part("one"):
        raise KeyError("a bug of ours")
