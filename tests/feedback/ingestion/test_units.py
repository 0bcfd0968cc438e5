import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.ingestion import units
from llm_assets.feedback.ingestion.units import Problem, split

TEXTS = st.text(max_size=5) | st.sampled_from(['"', "\\", '\\"', "]}", "\n", "\\\\n{"])
VALUES = TEXTS | st.integers() | st.none() | st.lists(TEXTS, max_size=3)
OBJECTS = st.dictionaries(TEXTS, VALUES | st.dictionaries(TEXTS, VALUES, max_size=2), max_size=3)
FILES = st.lists(OBJECTS, min_size=1, max_size=5)


def blocks_of(content: bytes, size: int = 7) -> Iterator[bytes]:
    return (content[i : i + size] for i in range(0, len(content), size))


def read(content: bytes, size: int = 7) -> dict[int, Any]:
    """Return the units by their number; a problem by its reason."""
    found: dict[int, Any] = {}
    for chunk in split(blocks_of(content, size)):
        if isinstance(chunk, Problem):
            found[chunk.number] = chunk.reason
            continue
        for number, line in enumerate(chunk.content.split(b"\n"), start=chunk.number):
            if line.strip():
                found[number] = line.strip()
    return found


def decoded(content: bytes, size: int = 7) -> list[Any]:
    return [json.loads(line) for line in read(content, size).values()]


@given(FILES, st.integers(1, 50), st.booleans())
def test_lines_are_units(values: list[Any], size: int, is_ascii: bool) -> None:
    content = "\r\n".join(json.dumps(value, ensure_ascii=is_ascii) for value in values)
    found = read(content.encode(), size)
    assert [json.loads(line) for line in found.values()] == values
    assert list(found) == list(range(1, len(values) + 1))


@given(
    FILES,
    st.integers(1, 50),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
def test_the_elements_of_an_array_are_units(
    values: list[Any], size: int, indent: int | None, is_ascii: bool
) -> None:
    content = json.dumps(values, ensure_ascii=is_ascii, indent=indent).encode()
    found = read(content, size)
    assert [json.loads(line) for line in found.values()] == values
    assert list(found) == list(range(1, len(values) + 1))


@given(FILES, st.integers(1, 50))
def test_objects_over_many_lines_are_units(values: list[Any], size: int) -> None:
    values = [{"first": 1}, *values]  # an empty object is a line
    content = "\n".join(json.dumps(value, indent=1) for value in values).encode()
    assert decoded(content, size) == values


@given(st.binary(), st.integers(1, 50))
def test_no_content_crashes_and_none_gets_lost(content: bytes, size: int) -> None:
    found = read(content, size)
    if content.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n,[]\x0b\x0c"):
        assert found


@given(st.lists(st.sampled_from([*'[]{}",:\\ \n', "null", '{"a": 1}'])), st.integers(1, 9))
def test_no_mixture_of_brackets_crashes(parts: list[str], size: int) -> None:
    assert all(isinstance(number, int) for number in read("".join(parts).encode(), size))


def test_a_byte_order_mark_and_blank_lines_before_are_passed_over() -> None:
    assert read(b'\xef\xbb\xbf\n\n{"a": 1}\n\n{"b": 2}') == {3: b'{"a": 1}', 5: b'{"b": 2}'}
    assert decoded(b'\xef\xbb\xbf \n[\n{"a": 1}]') == [{"a": 1}]


@pytest.mark.parametrize(
    "first", [b"{half", b'{"half', b"[2026-03-01 12:00] started", b"date,prompt", b'["a", 1]']
)
def test_a_first_line_that_is_corrupt_makes_no_document(first: bytes) -> None:
    assert read(first + b'\n{"a": 1}\n') == {1: first, 2: b'{"a": 1}'}


def test_what_stands_between_the_elements_of_an_array_is_a_unit() -> None:
    assert list(read(b'[{"a": 1}, null, {"b": 2}, 7]').values()) == [
        b'{"a": 1}',
        b"null",
        b'{"b": 2}',
        b"7",
    ]


def test_an_array_that_breaks_off_gives_its_whole_elements_and_the_rest_as_one() -> None:
    assert list(read(b'[{"a": 1},\n{"b": ').values()) == [b'{"a": 1}', b'{"b":']


@pytest.mark.parametrize("size", [5, 64])
def test_a_bracket_too_many_ends_a_document(size: int) -> None:
    found = read(b'[{"a": 1}]\n}\n[{"b": 2}]', size)
    assert found == {1: b'{"a": 1}', 2: "closes a bracket that was not opened"}


def test_a_line_that_is_too_long_is_named_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "MAX_LINE_BYTES", 100)
    long = b'{"a": "' + b"x" * 1000 + b'"}'
    found = read(b'{"b": 1}\n' + long + b'\n{"c": 2}\n' + long)
    problem = "is longer than 0 MiB"
    assert found == {1: b'{"b": 1}', 2: problem, 3: b'{"c": 2}', 4: problem}


def test_a_value_of_a_document_that_is_too_long_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "MAX_VALUE_BYTES", 100)
    found = read(b'[\n{"b": 1}, {"a": "' + b"x" * 1000 + b'"}]')
    assert found[1] == b'{"b": 1}'
    assert "split the file or make it JSON lines" in found[2]


@pytest.mark.parametrize("content", [b'{"a": 1}\n{"b"', b'[{"a": 1}, {"b"'])
def test_what_came_before_a_tear_is_kept(content: bytes) -> None:
    def torn() -> Iterator[bytes]:
        yield from blocks_of(content, 5)
        raise UserError("the archive is truncated")

    first, second = split(torn())
    assert first == (1, b'{"a": 1}') or first == (1, b'{"a": 1}\n')
    assert second == Problem(2, "the archive is truncated")


def test_elements_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_CHUNK_BYTES", 50)
    values = [{"number": number} for number in range(100)]
    assert decoded(json.dumps(values).encode()) == values
    chunks = list(split(blocks_of(json.dumps(values).encode())))
    assert len(chunks) > 10
    assert all(len(chunk[1]) < 100 for chunk in chunks)
