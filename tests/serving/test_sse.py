import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.serving.engine_client import EngineError
from llm_assets.serving.sse import Answer, EventSplitter, event_data, without_logprobs


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_an_answer_is_assembled_however_the_bytes_are_cut(
    parts: list[str], data: st.DataObject
) -> None:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"delta": {"content": part}, "finish_reason": None, "logprobs": logprobs}]}
        for part in parts
        for logprobs in [{"content": [{"token": part, "logprob": -0.5}]}]
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": len(parts)}
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage})
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    stream = b"".join(events) + b"data: [DONE]\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    splitter, answer, passed = EventSplitter(), Answer(), b""
    for piece in pieces:
        for event in splitter.feed(piece):
            answer.add(event_data(event) or {})
            passed += event
    assert passed == stream
    assert (answer.text, answer.finish_reason) == ("".join(parts), "stop")
    assert (answer.num_prompt_tokens, answer.num_response_tokens) == (5, len(parts))
    assert answer.confidence == pytest.approx(math.exp(-0.5))


def test_white_space_is_no_text() -> None:
    answer = Answer()
    answer.add({"choices": [{"delta": {"content": " \n"}}]})
    assert not answer.has_text
    answer.add({"choices": [{"delta": {"content": "a"}}]})
    answer.add({"choices": [{"delta": {"content": " "}}]})
    assert answer.has_text


def test_a_chunk_that_is_no_object_is_a_failure_of_the_engine() -> None:
    with pytest.raises(EngineError, match="no JSON object"):
        event_data(b"data: {a\n\n")


def test_what_is_no_chunk_has_no_data() -> None:
    assert event_data(b": ping\n\n") is None
    assert event_data(b"data: [DONE]\n\n") is None


@given(st.text(st.characters(codec="utf-8")))
def test_a_chunk_goes_on_without_probabilities_and_is_otherwise_the_same(text: str) -> None:
    choice = {"index": 0, "delta": {"content": text}}
    plain = {"id": "x", "choices": [choice], "model": "m"}
    told = {**plain, "choices": [{**choice, "logprobs": {"content": []}}]}
    event, whole = b"data: " + json.dumps(told).encode() + b"\n\n", json.dumps(told).encode()
    assert event_data(without_logprobs(event, told)) == plain
    assert list(EventSplitter().feed(without_logprobs(event, told)))[1:] == []
    assert json.loads(without_logprobs(whole, told)) == plain


def test_a_chunk_without_probabilities_keeps_its_bytes() -> None:
    event = b'data: {"choices":  [{"delta": {"content": "\xc3\xa4"}}]}\n\n'
    assert without_logprobs(event, event_data(event) or {}) is event
    assert without_logprobs(b"data: [DONE]\n\n", {}) == b"data: [DONE]\n\n"
