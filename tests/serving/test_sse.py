import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.serving.sse import Answer, EventSplitter, event_data


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_an_answer_is_assembled_however_the_bytes_are_cut(
    parts: list[str], data: st.DataObject
) -> None:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"delta": {"content": part}, "finish_reason": None}]} for part in parts
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


def test_what_is_no_chunk_has_no_data() -> None:
    assert event_data(b": ping\n\n") is None
    assert event_data(b"data: [DONE]\n\n") is None
