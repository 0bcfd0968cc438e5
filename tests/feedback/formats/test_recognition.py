import json
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback import formats
from llm_assets.feedback.formats import FORMATS, read_line, read_object, require_format
from tests.feedback.formats.examples import EXAMPLES, REQUEST, RESPONSE

ALL = [(name, example) for name, examples in EXAMPLES.items() for example in examples]


def test_each_format_has_an_example() -> None:
    assert set(EXAMPLES) == {candidate.name for candidate in FORMATS}


@pytest.mark.parametrize(("name", "example"), ALL)
def test_an_object_is_recognised_by_its_own_format_alone(
    name: str, example: dict[str, Any]
) -> None:
    assert [candidate.name for candidate in FORMATS if candidate.recognises(example)] == [name]


@pytest.mark.parametrize(("name", "example"), ALL)
def test_an_example_is_read_without_a_problem_whatever_the_order_of_formats(
    name: str, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = read_object(example, application="hotel")
    assert reading.records
    assert reading.problems == []
    monkeypatch.setattr(formats, "FORMATS", FORMATS[::-1])
    assert read_object(example, application="hotel") == reading
    assert read_object(example, application="hotel", format_name=name) == reading
    assert read_line(json.dumps(example).encode(), application="hotel") == reading


@pytest.mark.parametrize(
    "fields", [{}, {"a": 1}, {"request": {}}, {"data": {}, "info": {}}, {"id": "x", "name": "y"}]
)
def test_what_is_of_no_format_is_said_to_be(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^is of no known format \(native, openai-chat, "):
        read_object(fields, application="hotel")


def test_a_format_is_named_by_one_of_the_known_names() -> None:
    for known in (None, *(candidate.name for candidate in FORMATS)):
        require_format(known)
    with pytest.raises(UserError, match=r"format: must be one of native, .*, got 'csv'"):
        require_format("csv")


@pytest.mark.parametrize("line", [b"", b"{", b'{"half', b"\xff", b"[" * 5000, b'"\\ud800'])
def test_what_is_no_json_is_one_line(line: bytes) -> None:
    with pytest.raises(UserError, match=r"^is not JSON: ") as caught:
        read_line(line, application="hotel")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [b"[]", b"7", b'"text"', b"null"])
def test_what_is_no_object_is_one_line(line: bytes) -> None:
    with pytest.raises(UserError, match=r"^is not a JSON object$"):
        read_line(line, application="hotel")


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    line = json.dumps({"request": REQUEST, "response": RESPONSE}).replace("ten.", r"\ud83d ten.")
    ((interaction,), _, _) = read_line(line.encode(), application="hotel")
    assert getattr(interaction, "response", None) == "From seven to ? ten."


def test_nan_is_read_as_nothing() -> None:
    line = json.dumps({"request": REQUEST, "response": {**RESPONSE, "usage": float("nan")}})
    ((interaction,), _, _) = read_line(line.encode(), application="hotel")
    assert getattr(interaction, "num_prompt_tokens", 0) is None


def test_a_byte_order_mark_is_no_problem() -> None:
    line = json.dumps({"request": REQUEST, "response": RESPONSE}).encode("utf-8-sig")
    assert read_line(line, application="hotel").records
