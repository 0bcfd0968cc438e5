import math
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import openai_chat
from llm_assets.records import Interaction


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
            "metadata": {"session_id": "c-9"},
        },
        "response": {
            "id": "chatcmpl-1",
            "created": 1760000000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"message": {"content": "Retry."}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 21, "completion_tokens": 14},
        },
    }


def read(pair: dict[str, Any]) -> Interaction:
    ((interaction,), problems, num_passed_over) = openai_chat.read(pair, "bank")
    assert isinstance(interaction, Interaction)
    assert (problems, num_passed_over) == ([], 0)
    return interaction


def test_a_pair_is_an_interaction(pair: dict[str, Any]) -> None:
    assert openai_chat.recognises(pair)
    interaction = read(pair)
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
    assert (interaction.user_id, interaction.session_id) == ("u-17", "c-9")
    assert (interaction.finish_reason, interaction.confidence) == ("stop", None)
    assert (interaction.num_prompt_tokens, interaction.num_response_tokens) == (21, 14)


def test_logprobs_tell_how_sure_the_model_was(pair: dict[str, Any]) -> None:
    tokens = [{"token": "Re", "logprob": -0.2}, {"token": "try.", "logprob": -0.4}]
    pair["response"]["choices"][0]["logprobs"] = {"content": tokens, "refusal": None}
    assert read(pair).confidence == pytest.approx(math.exp(-0.3))


def test_what_is_not_needed_may_be_missing(pair: dict[str, Any]) -> None:
    del pair["request"]["user"], pair["request"]["metadata"]
    del pair["response"]["usage"]
    del pair["response"]["model"]
    pair["response"]["choices"] = [{"message": {"content": None}}]
    interaction = read(pair)
    assert (interaction.model_version, interaction.response) == ("gpt-4o-mini", "")
    assert (interaction.user_id, interaction.num_prompt_tokens) == (None, None)
    assert interaction.session_id is None


@pytest.mark.parametrize("usage", [{"prompt_tokens": -1}, {"prompt_tokens": True}, "many", None])
def test_a_count_that_cannot_be_one_is_left_out(pair: dict[str, Any], usage: Any) -> None:
    pair["response"]["usage"] = usage
    assert read(pair).num_prompt_tokens is None


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("request", {"messages": "Hello"}, "messages: must be of type list, got str"),
        ("request", {"messages": ["Hello"]}, "messages: must hold a user message with text"),
        ("request", {"messages": [{"content": "x"}]}, "messages: must hold a user message"),
        ("request", {"messages": []}, "messages: must hold a user message"),
        ("response", {"choices": []}, "choices: must hold a choice"),
        ("response", {"choices": [{}]}, "message: must be of type dict, got NoneType"),
        ("response", {"id": 7}, "id: must be of type str, got int"),
        ("response", {"created": "now"}, "created: must be a time .*, got a text of 3"),
        ("response", {"created": 10**24}, "created: must be a time .*, got a number of over"),
        ("response", {"created": 7}, "created: must be a time .*, got 7"),
        ("response", {"created": True}, "created: must be a time .*, got True"),
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
