import json
import math
from typing import Any

import pytest

from llm_assets.feedback.formats.bodies import (
    answer_of,
    confidence_of_response,
    conversation_of,
    finish_reason_of,
)
from tests.feedback.formats.examples import ANSWER, CHOICES, QUESTION, SYSTEM

ASKED, SAID = QUESTION["content"], ANSWER["content"]
HUMAN = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": ASKED, "type": "human"},
}
AI = {"type": "ai", "data": {"content": SAID}}


@pytest.mark.parametrize(
    "request_body",
    [
        [SYSTEM, QUESTION],
        {"messages": [SYSTEM, QUESTION]},
        {"messages": [[SYSTEM, QUESTION]]},
        {"system": SYSTEM["content"], "messages": [QUESTION]},
        {"instructions": SYSTEM["content"], "input": ASKED},
        {"input": {"messages": [SYSTEM, QUESTION]}},
        [SYSTEM, HUMAN],
        [SYSTEM, {"type": "human", "content": ASKED}],
        [SYSTEM, {"role": "human", "content": [{"type": "text", "text": ASKED}]}],
        [SYSTEM, {"role": "user", "parts": [{"type": "text", "content": ASKED}]}],
    ],
)
def test_a_conversation_is_found_in_any_usual_body(request_body: Any) -> None:
    assert conversation_of(request_body) == [SYSTEM, QUESTION]
    assert conversation_of(json.dumps(request_body)) == [SYSTEM, QUESTION]


@pytest.mark.parametrize(
    "request_body", [ASKED, {"question": ASKED}, {"prompts": [ASKED]}, QUESTION]
)
def test_a_text_alone_is_what_the_user_said(request_body: Any) -> None:
    assert conversation_of(request_body) == [QUESTION]


def test_json_that_the_user_typed_is_what_the_user_said() -> None:
    assert conversation_of('{"rooms": 2}') == [{"role": "user", "content": '{"rooms": 2}'}]


@pytest.mark.parametrize("request_body", [None, "", " ", "{}", "[]", {}, [], 7, {"topic": "food"}])
def test_what_holds_no_conversation_gives_none(request_body: Any) -> None:
    assert conversation_of(request_body) == []


@pytest.mark.parametrize(
    "response",
    [
        SAID,
        ANSWER,
        {"choices": CHOICES},
        {"choices": [{"text": SAID}]},
        [QUESTION, ANSWER],
        {"messages": [QUESTION, ANSWER, {"role": "tool", "content": "x"}]},
        {"output": SAID},
        {"output": [{"role": "assistant", "content": [{"type": "output_text", "text": SAID}]}]},
        {"generations": [[{"text": SAID, "message": AI}]]},
        {"generations": [[{"message": AI}]]},
        {"content": [{"type": "text", "text": SAID}]},
        [{"type": "text", "text": SAID}],
    ],
)
def test_an_answer_is_found_in_any_usual_body(response: Any) -> None:
    assert answer_of(response) == SAID
    if not isinstance(response, str):
        assert answer_of(json.dumps(response)) == SAID


def test_an_answer_in_json_of_the_models_own_stays_as_it_is() -> None:
    answer = '{"answer": "seven", "confidence": 0.9}'
    assert answer_of(answer) == answer
    assert answer_of({"role": "assistant", "content": answer}) == answer


@pytest.mark.parametrize(
    "response", [None, 7, True, {}, [], {"choices": []}, {"score": 1}, [QUESTION], {"error": "x"}]
)
def test_what_holds_no_answer_gives_none(response: Any) -> None:
    assert answer_of(response) is None


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"choices": CHOICES}, "stop"),
        (json.dumps({"choices": CHOICES}), "stop"),
        ({"choices": [{"finish_reason": 7}]}, None),
        ({"choices": []}, None),
        (None, None),
    ],
)
def test_the_reason_of_the_end_is_that_of_the_first_choice(
    response: Any, reason: str | None
) -> None:
    assert finish_reason_of(response) == reason


LOGPROBS = {"content": [{"token": "se", "logprob": -0.4}, {"token": "ven", "logprob": -0.6}]}


@pytest.mark.parametrize(
    ("response", "confidence"),
    [
        ({"choices": [{"logprobs": LOGPROBS}, {"logprobs": {"content": []}}]}, math.exp(-0.5)),
        (json.dumps({"choices": [{"logprobs": LOGPROBS}]}), math.exp(-0.5)),
        ({"choices": [{"logprobs": None}]}, None),
        ({"choices": [{"logprobs": {"content": None}}]}, None),
        ({"choices": [{"logprobs": {"content": [{"token": "x", "logprob": "y"}]}}]}, None),
        # The form of the completions API before chats: its tokens are elsewhere.
        ({"choices": [{"logprobs": {"token_logprobs": [-0.5]}}]}, None),
        ({"choices": [{"finish_reason": "stop"}]}, None),
        (None, None),
    ],
)
def test_the_confidence_is_that_of_the_first_choice(
    response: Any, confidence: float | None
) -> None:
    assert confidence_of_response(response) == confidence
