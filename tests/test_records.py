import dataclasses
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.records import (
    EARLIEST,
    SHADOW_VARIANT,
    Feedback,
    FeedbackKind,
    Interaction,
    confidence_of,
    described,
    first_problem,
    first_problem_of_data,
)
from tests.records import a_correction, an_interaction

TIMES = st.datetimes(EARLIEST.replace(tzinfo=None), timezones=st.just(UTC))
# JSON cannot carry half of a surrogate pair.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TIMES, TEXT, TEXT, st.none() | st.floats(0, 1e6), st.none() | TEXT)
def test_an_interaction_comes_back_from_its_line(
    time: datetime, prompt: str, response: str, latency: float | None, user: str | None
) -> None:
    interaction = an_interaction(
        "r1",
        time=time,
        prompt=prompt,
        response=response,
        messages=[{"role": "user", "content": prompt}],
        latency_seconds=latency,
        user_id=user,
    )
    line = interaction.to_json()
    assert b"\n" not in line
    assert Interaction.from_json(line) == interaction


@given(TIMES, TEXT.filter(bool))
def test_feedback_comes_back_from_its_line(time: datetime, text: str) -> None:
    correction = a_correction("f1", "r1", text, time=time)
    line = correction.to_json()
    assert b"\n" not in line
    assert Feedback.from_json(line) == correction


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": 5}, "rating: unknown key"),
        ({"prompt": None}, "prompt: .*valid string, got None"),
        ({"request_id": ""}, "request_id: .*at least 1 character"),
        ({"request_id": "r" * 201}, "request_id: .*at most 200 characters"),
        ({"status": "200"}, "status: .*valid integer, got a text of 3 characters$"),
        ({"time": "2026-03-01T12:00:00"}, "time must have an offset from UTC, got 2026-03-01T12"),
        ({"time": "yesterday"}, "time: .*got a text of 9 characters$"),
        ({"messages": [{"role": 1}]}, "messages.0.role: .*valid string, got 1$"),
    ],
)
def test_an_interaction_that_breaks_a_rule_is_one_line(
    change: dict[str, Any], message: str
) -> None:
    line = json.dumps({**json.loads(an_interaction("r1").to_json()), **change})
    with pytest.raises(UserError, match=message) as caught:
        Interaction.from_json(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["request_id", "application", "time", "prompt", "response"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    fields = json.loads(an_interaction("r1").to_json())
    del fields[field]
    with pytest.raises(UserError, match=f"^{field}: is missing$"):
        Interaction.from_json(json.dumps(fields))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff", b'"text"'])
def test_what_is_no_object_is_one_line(line: bytes) -> None:
    with pytest.raises(UserError) as caught:
        Feedback.from_json(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "text", "message"),
    [
        (FeedbackKind.THUMB, 0, None, "value of a thumb must be -1 or 1, got 0"),
        (FeedbackKind.THUMB, None, None, "value of a thumb must be -1 or 1, got None"),
        (FeedbackKind.RATING, 6, None, "value of a rating must lie in 1 to 5, got 6"),
        (FeedbackKind.RATING, None, None, "value of a rating must lie in 1 to 5, got None"),
        (FeedbackKind.COMMENT, None, "", "text of a comment must not be empty"),
        (FeedbackKind.CORRECTION, None, None, "text of a correction must not be empty"),
    ],
)
def test_feedback_says_what_its_kind_needs(
    kind: FeedbackKind, value: float | None, text: str | None, message: str
) -> None:
    fields = json.loads(a_correction("f1", "r1", "money").to_json())
    line = json.dumps({**fields, "kind": kind, "value": value, "text": text})
    with pytest.raises(UserError, match=message):
        Feedback.from_json(line)


@pytest.mark.parametrize(("kind", "value"), [("thumb", -1), ("thumb", 1), ("rating", 2.5)])
def test_feedback_with_a_value_needs_no_text(kind: str, value: float) -> None:
    fields = json.loads(a_correction("f1", "r1", "money").to_json())
    line = json.dumps({**fields, "kind": kind, "value": value, "text": None})
    assert Feedback.from_json(line).value == value


def test_a_record_belongs_to_its_day_in_utc() -> None:
    eastern = timezone(timedelta(hours=-5))
    evening = datetime(2026, 3, 1, 22, tzinfo=eastern)
    assert an_interaction("r1", time=evening).date == date(2026, 3, 2)
    assert a_correction("f1", "r1", "money", time=evening).date == date(2026, 3, 2)


def test_a_record_is_unique_by_its_own_id() -> None:
    assert an_interaction("r1").record_id == "r1"
    assert a_correction("f1", "r1", "money").record_id == "f1"


def test_a_shadows_answer_is_another_record_than_the_one_that_the_user_saw() -> None:
    assert an_interaction("r1", variant=SHADOW_VARIANT).record_id == "r1#shadow"


def test_a_line_of_before_answers_were_cached_reads_on() -> None:
    fields = json.loads(an_interaction("r1").to_json())
    del fields["first_token_seconds"], fields["is_cached"]
    interaction = Interaction.from_json(json.dumps(fields))
    assert (interaction.first_token_seconds, interaction.is_cached) == (None, False)


def test_records_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        an_interaction("r1").prompt = "other"  # pyright: ignore[reportAttributeAccessIssue]


SECRET = "jane.doe@example.com"


@pytest.mark.parametrize(
    "change",
    [
        {"status": SECRET},
        {"time": SECRET},
        {SECRET: 1},
        {"messages": SECRET},
        {"messages": [SECRET]},
        {"messages": [{SECRET: 1}]},
        {"messages": [{"role": [SECRET]}]},
        {"messages": {"role": SECRET}},
        {"application": SECRET},
        {"request_id": SECRET * 20},
        {"aliases": [SECRET, ""]},
        {"status": {"code": SECRET}},
    ],
)
def test_no_text_of_a_record_is_quoted_in_an_error(change: dict[str, Any]) -> None:
    line = json.dumps({**json.loads(an_interaction("r1").to_json()), **change})
    with pytest.raises(UserError) as caught:
        Interaction.from_json(line)
    assert SECRET not in str(caught.value)
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize("line", [f'"{SECRET}"', f'{{"prompt": "{SECRET}', f'["{SECRET}"]'])
def test_no_text_of_a_broken_line_is_quoted_in_an_error(line: str) -> None:
    with pytest.raises(UserError) as caught:
        Feedback.from_json(line)
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (True, "True"),
        (-3, "-3"),
        (0.5, "0.5"),
        (10**30, "a number of over 20 digits"),
        ("jane", "a text of 4 characters"),
        (b"jane", "a text of 4 characters"),
        ({"a": "jane"}, "an object"),
        (["jane"], "a list"),
    ],
)
def test_a_value_is_described_without_its_text(value: Any, shown: str) -> None:
    assert described(value) == shown


def test_an_error_of_a_configuration_shows_the_value_that_the_operator_wrote() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(dict[str, int]).validate_python({"port": "high"})
    assert first_problem(caught.value).endswith("got 'high'")
    assert "high" not in first_problem_of_data(caught.value)


def tokens(*logprobs: float, text: str = "a") -> list[dict[str, Any]]:
    return [{"token": text, "logprob": logprob} for logprob in logprobs]


@given(st.lists(st.floats(-50, 0), min_size=1), st.integers(1, 4))
def test_an_answer_is_as_sure_as_its_tokens_however_long_it_is(
    logprobs: list[float], times: int
) -> None:
    confidence = confidence_of(tokens(*logprobs))
    assert confidence is not None
    assert math.exp(min(logprobs)) <= confidence + 1e-12
    assert confidence <= math.exp(max(logprobs)) + 1e-12
    assert confidence_of(tokens(*logprobs * times)) == pytest.approx(confidence)
    assert an_interaction("r1", confidence=confidence).confidence == confidence


def test_the_end_of_an_answer_does_not_count() -> None:
    said = tokens(-0.5, -1.5)
    assert confidence_of([*said, *tokens(-9.0, text="")]) == confidence_of(said) == math.exp(-1)
    # In the middle it is a token that was no whole character yet.
    assert confidence_of([*tokens(-0.5, text=""), *tokens(-1.5)]) == math.exp(-1)


@pytest.mark.parametrize(
    "logprobs",
    [
        [],
        tokens(-0.1, text=""),
        [None],
        ["a"],
        [{"token": "a"}],
        [{"logprob": -0.1}],
        [*tokens(-0.1), {"token": "a", "logprob": None}],
        [{"token": "a", "logprob": True}],
        tokens(0.5),
        tokens(math.nan),
        tokens(math.inf),
    ],
)
def test_what_tells_no_probabilities_tells_no_confidence(logprobs: list[Any]) -> None:
    assert confidence_of(logprobs) is None


@pytest.mark.parametrize("logprob", [-math.inf, -3.4e38, -(10**400)])
def test_an_impossible_token_makes_an_answer_impossible(logprob: float) -> None:
    assert confidence_of(tokens(-0.1, logprob)) == 0


@pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(pydantic.ValidationError, match="confidence"):
        an_interaction("r1", confidence=confidence)
