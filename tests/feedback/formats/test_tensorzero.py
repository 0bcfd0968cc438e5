import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import tensorzero
from llm_assets.records import Feedback, Interaction
from tests.feedback.formats.examples import (
    ANSWER,
    QUESTION,
    SYSTEM,
    TENSORZERO_FEEDBACK,
    TENSORZERO_INFERENCE,
)

BOOLEAN, FLOAT, COMMENT, DEMONSTRATION = TENSORZERO_FEEDBACK


def read(fields: dict[str, Any]) -> Interaction:
    ((interaction,), problems, num_passed_over) = tensorzero.read(fields, "hotel")
    assert isinstance(interaction, Interaction)
    assert (problems, num_passed_over) == ([], 0)
    return interaction


def said(fields: dict[str, Any]) -> Feedback:
    ((feedback,), problems, num_passed_over) = tensorzero.read(fields, "hotel")
    assert isinstance(feedback, Feedback)
    assert (problems, num_passed_over) == ([], 0)
    return feedback


def without(fields: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in keys}


def test_an_inference_is_an_interaction() -> None:
    interaction = read(TENSORZERO_INFERENCE)
    assert interaction.request_id == TENSORZERO_INFERENCE["id"]
    # Feedback may be on the episode, which is the session as well.
    assert interaction.aliases == [TENSORZERO_INFERENCE["episode_id"]]
    assert interaction.session_id == TENSORZERO_INFERENCE["episode_id"]
    assert interaction.messages == [SYSTEM, QUESTION]
    assert interaction.response == ANSWER["content"]
    assert (interaction.model_version, interaction.user_id) == ("guest_v3", "guest-4")
    assert interaction.latency_seconds == 1.5


@pytest.mark.parametrize("fields", [TENSORZERO_INFERENCE, *TENSORZERO_FEEDBACK])
def test_a_row_is_known_by_its_columns_as_well(fields: dict[str, Any]) -> None:
    row = without(fields, "_table")
    assert tensorzero.recognises(row)
    assert tensorzero.read(row, "hotel") == tensorzero.read(fields, "hotel")


def test_the_time_comes_from_the_id_where_there_is_no_timestamp() -> None:
    interaction = read(without(TENSORZERO_INFERENCE, "timestamp"))
    milliseconds = int(TENSORZERO_INFERENCE["id"].replace("-", "")[:12], 16)
    assert interaction.time == datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.mark.parametrize("given", ["not-a-uuid", "9b2b1b7e-5f0e-4c0e-8b8e-000000000000", "7" * 32])
def test_an_id_of_another_kind_tells_no_time(given: str) -> None:
    fields = {**without(TENSORZERO_INFERENCE, "timestamp"), "id": given}
    with pytest.raises(UserError, match="timestamp: is missing, and the id is no UUID"):
        tensorzero.read(fields, "hotel")


@pytest.mark.parametrize(
    "output", ['{"raw": "{\\"hour\\": 7}", "parsed": {"hour": 7}}', {"raw": '{"hour": 7}'}]
)
def test_a_function_that_answers_in_json_answers_its_raw_text(output: Any) -> None:
    fields = {**TENSORZERO_INFERENCE, "_table": "JsonInference", "output": output}
    assert read(fields).response == '{"hour": 7}'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello", "Hello"),
        ([{"type": "text", "value": "Hello"}], "Hello"),
        ([{"type": "text", "arguments": {"room": 7, "floor": "two"}}], "room: 7\nfloor: two"),
        ([{"type": "template", "name": "user", "arguments": {"room": 7}}], "room: 7"),
        (
            [{"type": "text", "text": "a"}, {"type": "tool_call"}, {"type": "text", "text": "b"}],
            "a\nb",
        ),
    ],
)
def test_a_message_is_its_text_or_the_variables_of_its_template(content: Any, text: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": content}]})
    assert read({**TENSORZERO_INFERENCE, "input": body}).prompt == text


def test_a_boolean_metric_is_a_thumb() -> None:
    feedback = said(BOOLEAN)
    assert (feedback.kind, feedback.value, feedback.name) == ("thumb", -1, "user_thumb")
    assert feedback.request_id == TENSORZERO_INFERENCE["id"]
    assert said({**BOOLEAN, "value": 1}).value == 1


def test_a_float_metric_is_a_score_also_where_it_is_one() -> None:
    feedback = said(FLOAT)
    assert (feedback.kind, feedback.value, feedback.name) == ("score", 1, "minutes_saved")
    assert said({**FLOAT, "metric_name": "rating", "value": 4.0}).kind == "rating"


@pytest.mark.parametrize(
    "change",
    [
        {"tags": {"tensorzero::evaluation_name": "x"}},
        {"metric_name": "tensorzero::evaluation_name::x::evaluator_name::y"},
    ],
)
def test_what_an_evaluator_found_is_a_score(change: dict[str, Any]) -> None:
    feedback = said({**BOOLEAN, **change})
    assert (feedback.kind, feedback.value) == ("score", 0)


def test_a_comment_is_on_an_inference_or_on_an_episode() -> None:
    feedback = said(COMMENT)
    assert (feedback.kind, feedback.text) == ("comment", "Wrong hours.")
    assert (feedback.request_id, feedback.session_id) == (TENSORZERO_INFERENCE["id"], None)
    episode = said({**COMMENT, "target_type": "episode", "target_id": "e-1"})
    assert (episode.request_id, episode.session_id) == (None, "e-1")


def test_a_demonstration_is_the_answer_that_was_wanted() -> None:
    feedback = said(DEMONSTRATION)
    assert (feedback.kind, feedback.text) == ("correction", "From eight to eleven.")
    assert feedback.request_id == TENSORZERO_INFERENCE["id"]


@pytest.mark.parametrize(
    "fields",
    [{"_table": "ModelInference", "id": "x"}, {"inference_id": "x", "raw_request": "{}"}],
)
def test_rows_of_other_tables_are_passed_over(fields: dict[str, Any]) -> None:
    assert tensorzero.recognises(fields)
    assert tensorzero.read(fields, "hotel") == ([], [], 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**TENSORZERO_INFERENCE, "input": "[]"}, "input: must be an object with messages"),
        ({**TENSORZERO_INFERENCE, "input": '{"messages": 1}'}, "must hold a user message"),
        ({**BOOLEAN, "value": "yes"}, "value: must be true or false"),
        ({**BOOLEAN, "target_id": ""}, "target_id: must be an id"),
        ({**BOOLEAN, "id": None}, "id: must be an id"),
        ({"_table": "Users", "id": "x"}, "is a row of no table of TensorZero"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tensorzero.read(fields, "hotel")
