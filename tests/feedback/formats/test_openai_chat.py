from datetime import UTC, datetime
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import FORMATS, openai_chat, require_format


@pytest.fixture
def pair() -> dict[str, Any]:
    return {
        "request": {
            "model": "gpt-4o-mini",
            "messages": [
                {"role": "system", "content": "You are a bank helper."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "My top-up"},
                        {"type": "image_url", "image_url": {"url": "data:"}},
                        {"type": "text", "text": "failed."},
                    ],
                },
            ],
            "user": "u-17",
        },
        "response": {
            "id": "chatcmpl-1",
            "created": 1760000000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"message": {"content": "Retry."}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 21, "completion_tokens": 14},
        },
    }


def test_a_pair_is_an_interaction(pair: dict[str, Any]) -> None:
    assert openai_chat.recognises(pair)
    interaction = openai_chat.read(pair, "bank")
    assert interaction.request_id == "chatcmpl-1"
    assert interaction.time == datetime.fromtimestamp(1760000000, UTC)
    assert (interaction.application, interaction.variant) == ("bank", "external")
    assert interaction.model_version == "gpt-4o-mini-2024-07-18"
    # The last message of the user, its text parts only.
    assert interaction.prompt == "My top-up\nfailed."
    assert interaction.response == "Retry."
    assert [message["role"] for message in interaction.messages] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert (interaction.user_id, interaction.finish_reason) == ("u-17", "stop")
    assert (interaction.num_prompt_tokens, interaction.num_response_tokens) == (21, 14)


def test_what_is_not_needed_may_be_missing(pair: dict[str, Any]) -> None:
    del pair["request"]["user"]
    del pair["response"]["usage"]
    del pair["response"]["model"]
    pair["response"]["choices"] = [{"message": {"content": None}}]
    interaction = openai_chat.read(pair, "bank")
    assert (interaction.model_version, interaction.response) == ("gpt-4o-mini", "")
    assert (interaction.user_id, interaction.num_prompt_tokens) == (None, None)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("request", {"messages": "Hello"}, "messages: must be of type list, got 'Hello'"),
        ("request", {"messages": ["Hello"]}, "messages: must hold objects only"),
        ("request", {"messages": [{"content": "x"}]}, "role: must be of type str, got None"),
        ("request", {"messages": []}, "request.messages must hold a user message"),
        ("response", {"choices": []}, "response.choices a choice"),
        ("response", {"choices": [{}]}, "message: must be of type dict, got None"),
        ("response", {"id": 7}, "id: must be of type str, got 7"),
        ("response", {"created": "now"}, "created: must be of type int, got 'now'"),
        ("response", {"created": 10**18}, "created: must be seconds since 1970, got 1000"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(
    pair: dict[str, Any], part: str, change: dict[str, Any], message: str
) -> None:
    pair[part] |= change
    with pytest.raises(UserError, match=message):
        openai_chat.read(pair, "bank")


@pytest.mark.parametrize("fields", [{}, {"request": {}}, {"request": [], "response": {}}])
def test_what_is_no_pair_is_not_recognised(fields: dict[str, Any]) -> None:
    assert not openai_chat.recognises(fields)


def test_a_format_is_named_by_one_of_the_known_names() -> None:
    for known in (None, *(candidate.name for candidate in FORMATS)):
        require_format(known)
    with pytest.raises(UserError, match="format: must be one of native, openai-chat, got 'csv'"):
        require_format("csv")
