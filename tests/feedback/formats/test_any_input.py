"""No input crashes a reader: what comes is a reading whose records are sound, or a `UserError`."""

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.formats import read_line, read_object
from llm_assets.feedback.formats.reading import Reading
from tests.feedback.formats.examples import EXAMPLES

CANARY = "canary jane@example.com"
KILLERS: list[Any] = [
    "",
    " ",
    "\ud800",
    f"{CANARY} \udfff",
    CANARY,
    CANARY * 1000,
    "x" * 10_000,
    "NaN",
    "1e400",
    "{",
    '{"messages": [',
    "[[[[]]]]",
    "2014-12-31T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30",
    True,
    False,
    -1,
    0.5,
    10**400,
    -(10**30),
    2**63,
    1e308,
    float("nan"),
    float("inf"),
    None,
    [],
    {},
    [CANARY],
    {"content": CANARY},
    {"role": "user", "content": [{"type": "text", "text": CANARY}]},
]
JSON = st.sampled_from(KILLERS) | st.recursive(
    st.sampled_from(KILLERS) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any) -> Iterator[list[Any]]:
    """Yield the path of every value inside another."""
    inside: Any = value.items() if isinstance(value, dict) else []
    if isinstance(value, list):
        inside = enumerate(value)
    for key, child in inside:
        yield [key]
        for rest in places(child):
            yield [key, *rest]


@st.composite
def changed(draw: st.DrawFn, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw an example in which one to three values are replaced, removed, or wrapped."""
    fields = copy.deepcopy(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(fields))
        if not paths:
            break
        *path, key = draw(st.sampled_from(paths))
        owner: Any = fields
        for step in path:
            owner = owner[step]
        how = draw(st.sampled_from(["replace", "replace", "remove", "list", "object", "text"]))
        if how == "remove":
            del owner[key]
        elif how == "replace":
            owner[key] = copy.deepcopy(draw(JSON))  # a later change may reach into it
        else:
            wrap = {"list": lambda value: [value], "object": lambda value: {"content": value}}
            owner[key] = wrap.get(how, json.dumps)(owner[key])
    return fields


def check(fields: dict[str, Any], name: str | None) -> None:
    """Read the fields as an object and as a line."""
    line, before = json.dumps(fields).encode(), repr(fields)
    for read in (
        lambda: read_object(fields, application="hotel", format_name=name),
        lambda: read_line(line, application="hotel", format_name=name),
    ):
        try:
            reading = read()
        except UserError as error:
            reading = Reading([], [str(error)])
        assert reading.num_passed_over >= 0
        for problem in reading.problems:
            assert "\n" not in problem
            assert "canary" not in problem
        for record in reading.records:
            assert record.application == "hotel"
            assert type(record).from_json(record.to_json()) == record
    assert repr(fields) == before


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_example_with_other_values_is_read_or_refused(name: str, data: st.DataObject) -> None:
    fields = data.draw(changed(EXAMPLES[name]))
    check(fields, name)
    check(fields, None)


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_any_object_is_read_or_refused(name: str, fields: dict[str, Any]) -> None:
    check(fields, name)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    problem = ""
    try:
        read_line(line, application="hotel")
    except UserError as error:
        problem = str(error)
    assert "\n" not in problem


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("opening", ['{"output":', '{"messages":', "[", '{"choices":[{"message":'])
def test_what_is_nested_beyond_reason_is_read_or_refused(name: str, opening: str) -> None:
    closing = opening.replace("{", "}").replace("[", "]")[::-1]
    closing = "".join(character for character in closing if character in "]}")
    deep = f'{opening * 400}"x"{closing * 400}'
    for example in EXAMPLES[name]:
        for key in example:
            line = json.dumps({**example, key: "DEEP"})
            for value in (deep, json.dumps(deep)):
                with contextlib.suppress(UserError):
                    read_line(
                        line.replace('"DEEP"', value).encode(),
                        application="hotel",
                        format_name=name,
                    )
