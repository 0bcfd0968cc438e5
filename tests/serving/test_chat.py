import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.serving.chat import check_limits, engine_request, parse_chat_request
from llm_assets.serving.spec import ModelServerSpec

ASK = {"role": "user", "content": "Who wrote Faust?"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "helpdesk", "messages": [ASK], **fields}).encode()


def asked(spec: ModelServerSpec, **fields: Any) -> Mapping[str, Any]:
    return engine_request(parse_chat_request(body(**fields)), spec, use_prefix_cache=True)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON: recursion limit"),
        (b"[]", "the body must be a JSON object"),
        (b'{"messages": []}', "model: is missing"),
        (b'{"model": "helpdesk"}', "messages: is missing"),
        (body(messages=[]), "messages: List should have at least 1 item"),
        (body(messages="hello"), "messages: Input should be a valid array, got 'hello'"),
        (body(messages=[{"role": "user", "content": 5}]), r"messages\.0\.content.*string, got 5"),
        (body(messages=[{"role": "robot", "content": ""}]), r"messages\.0\.role: .*got 'robot'"),
        (body(messages=[{"role": "user"}]), r"messages\.0\.content: is missing"),
        (body(temperature="hot"), "temperature: .*got 'hot'"),
        (body(temperature=float("nan")), "temperature: .*finite"),
        (body(max_tokens=0), "max_tokens: .*got 0"),
        (body(stream="yes"), "stream: .*boolean, got 'yes'"),
        (body(n=2), "n: Input should be 1, got 2"),
        (body(lora=[{"id": 0, "scale": 0}]), "lora: unknown key"),
        (body(id_slot=0), "id_slot: unknown key"),
        (body(tools=[]), "tools: unknown key"),
        (body(logprobs=True), "logprobs: unknown key"),
        (body(metadata={"session_id": 7}), r"metadata\.session_id: .*string, got 7"),
        (b'{"model": "helpdesk", "messages": [{"role": "user", "content": "\\ud800"}]}', "Invalid"),
    ],
)
def test_an_invalid_request_is_refused_in_one_line_that_names_the_field(
    raw: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_chat_request(raw)
    assert "\n" not in str(caught.value)


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_any_bytes_are_a_request_or_a_user_error(raw: bytes) -> None:
    with pytest.raises(UserError):
        parse_chat_request(raw)


def test_the_prompt_is_the_last_message_of_the_user() -> None:
    messages = [ASK, {"role": "assistant", "content": "Goethe"}, {**ASK, "content": "And Hamlet?"}]
    request = parse_chat_request(body(messages=messages))
    assert request.prompt == "And Hamlet?"
    assert request.conversation == messages


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "Who wrote "}, {"type": "text", "text": "Faust?"}]
    request = parse_chat_request(body(messages=[{"role": "user", "content": parts}]))
    assert request.prompt == "Who wrote Faust?"


def test_a_prompt_over_the_limit_names_size_and_limit(spec: ModelServerSpec) -> None:
    request = parse_chat_request(body(messages=[{"role": "user", "content": "x" * 100_000}]))
    message = (
        r"messages: 100000 characters, the limit of application 'helpdesk' is 2000 "
        r"\(serving.max_prompt_characters\)"
    )
    with pytest.raises(UserError, match=message):
        check_limits(request, spec)


def test_a_request_without_a_question_is_refused(spec: ModelServerSpec) -> None:
    request = parse_chat_request(body(messages=[{"role": "user", "content": " \n"}]))
    with pytest.raises(UserError, match="a message of the user that is not empty"):
        check_limits(request, spec)


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-05-01T10:00:00", "", "2026-13-01T00:00Z"])
def test_a_replayed_time_must_have_an_offset(timestamp: str) -> None:
    request = parse_chat_request(body(metadata={"timestamp": timestamp}))
    with pytest.raises(UserError, match=r"metadata\.timestamp: must be ISO 8601"):
        request.client_time()


def test_a_replayed_time_is_not_before_all_records() -> None:
    request = parse_chat_request(body(metadata={"timestamp": "1999-05-01T10:00:00+02:00"}))
    with pytest.raises(UserError, match=r"metadata\.timestamp: must not be before 2023-01-01"):
        request.client_time()


def test_a_replayed_time_is_read() -> None:
    request = parse_chat_request(body(metadata={"timestamp": "2026-05-01T10:00:00+02:00"}))
    assert request.client_time() == datetime.fromisoformat("2026-05-01T08:00:00Z")


def test_the_system_prompt_comes_first_unless_the_client_sent_one(spec: ModelServerSpec) -> None:
    plain = asked(spec)
    assert plain["messages"] == [{"role": "system", "content": "Name the desk."}, ASK]
    own = [{"role": "developer", "content": "Be rude."}, ASK]
    sent = asked(spec, messages=own)
    assert sent["messages"] == [{"role": "system", "content": "Be rude."}, ASK]


def test_an_answer_is_greedy_and_capped_unless_asked_otherwise(spec: ModelServerSpec) -> None:
    plain = asked(spec)
    assert (plain["temperature"], plain["max_tokens"]) == (0.0, 8)
    greedy = asked(spec, max_tokens=100, temperature=0.7)
    assert (greedy["temperature"], greedy["max_tokens"]) == (0.7, 8)
    short = asked(spec, max_completion_tokens=3)
    assert short["max_tokens"] == 3


def test_only_known_fields_reach_the_engine(spec: ModelServerSpec) -> None:
    sent = asked(spec, user="u1", metadata={"session_id": "s"}, store=True, seed=7, stop=["\n"])
    assert sent.keys() == {
        *("model", "messages", "max_tokens", "temperature", "stream", "seed", "stop"),
        "cache_prompt",
    }
