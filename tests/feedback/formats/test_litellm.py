import json
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import litellm
from llm_assets.records import Interaction
from tests.feedback.formats.examples import (
    ANSWER,
    LITELLM_PAYLOAD,
    LITELLM_ROW,
    QUESTION,
    SYSTEM,
)


def read(fields: dict[str, Any]) -> Interaction:
    ((interaction,), problems, num_passed_over) = litellm.read(fields, "hotel")
    assert isinstance(interaction, Interaction)
    assert (problems, num_passed_over) == ([], 0)
    return interaction


@pytest.mark.parametrize("fields", [LITELLM_PAYLOAD, LITELLM_ROW])
def test_a_payload_and_a_row_are_an_interaction(fields: dict[str, Any]) -> None:
    interaction = read(fields)
    assert interaction.request_id == "chatcmpl-9"
    assert interaction.messages == [SYSTEM, QUESTION]
    assert interaction.response == ANSWER["content"]
    assert (interaction.session_id, interaction.user_id) == ("stay-1", "guest-4")
    assert (interaction.model_version, interaction.status) == ("guest-model", 200)
    assert (interaction.finish_reason, interaction.latency_seconds) == ("stop", 1.5)
    assert interaction.confidence == pytest.approx(0.8)
    assert (interaction.num_prompt_tokens, interaction.num_response_tokens) == (19, 6)
    assert interaction.time.isoformat() == "2026-03-02T09:00:00+00:00"


def test_feedback_may_name_the_trace_or_the_call() -> None:
    fields = {**LITELLM_PAYLOAD, "id": "x-1", "litellm_call_id": "call-1"}
    assert read(fields).aliases == ["chatcmpl-9", "call-1", "tr-9"]


@pytest.mark.parametrize(
    "change",
    [
        {"messages": "{}"},
        {"messages": {}},
        {"messages": "[]"},
        {"messages": None},
        {"messages": "redacted-by-litellm"},
        {"messages": [{"role": "user", "content": "redacted-by-litellm"}]},
        {"call_type": "aembedding"},
        {"call_type": "image_generation"},
    ],
)
@pytest.mark.parametrize("fields", [LITELLM_PAYLOAD, LITELLM_ROW])
def test_what_holds_no_conversation_is_passed_over(
    fields: dict[str, Any], change: dict[str, Any]
) -> None:
    assert litellm.read({**fields, **change}, "hotel") == ([], [], 1)


def test_newer_rows_keep_the_prompt_in_the_request_of_the_proxy() -> None:
    request = {"model": "guest-model", "messages": [SYSTEM, QUESTION]}
    row = {**LITELLM_ROW, "messages": "{}", "proxy_server_request": json.dumps(request)}
    assert read(row).messages == [SYSTEM, QUESTION]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error_code": "429"}, 429),
        ({"error_code": 503}, 503),
        ({"error_code": ""}, 500),
        (None, 500),
    ],
)
def test_a_failure_is_an_interaction_with_its_status(error: Any, status: int) -> None:
    failed = {"status": "failure", "response": {}, "error_information": error}
    interaction = read({**LITELLM_PAYLOAD, **failed})
    assert (interaction.status, interaction.response) == (status, "")


def test_a_session_may_stand_in_the_metadata_of_the_requester() -> None:
    fields = {**LITELLM_PAYLOAD, "metadata": {"requester_metadata": {"session_id": "stay-2"}}}
    del fields["session_id"]
    assert read(fields).session_id == "stay-2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"startTime": None}, "startTime: must be a time"),
        ({"startTime": "Jane"}, "startTime: must be a time .*, got a text of 4 characters"),
        ({"id": None}, "id: must be an id of 1 to 200 characters, got None"),
        ({"messages": [ANSWER]}, "messages: must hold a user message with text"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        litellm.read({**LITELLM_PAYLOAD, **change}, "hotel")
