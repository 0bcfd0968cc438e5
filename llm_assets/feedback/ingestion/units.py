"""The units of a file's content, one JSON value each: its lines, or the elements of a document.

A document is one JSON value over many lines, or several after each other; the elements of an array
are units of their own. It is split by its brackets alone, without being held in memory.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from llm_assets.errors import UserError

MAX_LINE_BYTES = 16 * 2**20
MAX_VALUE_BYTES = 64 * 2**20  # of a document: decoded it takes about ten times as much
_CHUNK_BYTES = 2**20
_HEAD_BYTES = 2**16
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_BETWEEN = _SPACE + b",[]"
_ARRAY = re.compile(rb"\[\s*(?:[\{\]]|\Z)")


class Lines(NamedTuple):
    """Units that follow each other, each on a line; the first is unit `number` of the file."""

    number: int
    content: bytes


class Problem(NamedTuple):
    """What kept the unit of this number, and perhaps all after it, from being read."""

    number: int
    reason: str


Chunk = Lines | Problem


def split(blocks: Iterator[bytes]) -> Iterator[Chunk]:
    """Yield all units of a file's content in chunks of about 1 MiB."""
    head = bytearray()
    problem = None
    try:
        for block in blocks:
            head += block
            text = head.removeprefix(_BOM).lstrip(_SPACE)
            if b"\n" in text or len(text) >= _HEAD_BYTES:
                break
            if not text:  # blank so far: only the number of lines matters
                head = bytearray(b"\n" * head.count(b"\n"))
    except UserError as error:
        problem = error
    content = bytes(head.removeprefix(_BOM))
    rest = _resumed(content, blocks, problem)
    yield from _elements(rest) if _is_document(content.lstrip(_SPACE)) else _lines(rest)


def _resumed(content: bytes, blocks: Iterable[bytes], problem: UserError | None) -> Iterator[bytes]:
    yield content
    if problem:
        raise problem
    yield from blocks


def _is_document(head: bytes) -> bool:
    """Say whether the content begins like a value that goes on over the next lines.

    The first line of a file of JSON lines may be corrupt; what is wrong with it then stands
    before its end.
    """
    if head.startswith(b"["):
        return _ARRAY.match(head) is not None
    line, newline, _ = head.partition(b"\n")
    line = line.rstrip(_SPACE)
    if not newline or not line.startswith(b"{") or line[-1:] not in b"{[,":
        return False
    try:
        json.loads(line.decode("ascii", "replace"))
    except json.JSONDecodeError as error:
        return error.pos == len(line)
    except RecursionError:
        return False
    return False


def _lines(blocks: Iterator[bytes]) -> Iterator[Chunk]:
    number = 1
    pending = bytearray()  # the beginning of a line
    is_too_long = False
    try:
        for block in blocks:
            head_end = block.find(b"\n") + 1
            if is_too_long or len(pending) + (head_end or len(block)) > MAX_LINE_BYTES:
                pending.clear()
                is_too_long = not head_end
                if is_too_long:
                    continue
                yield Problem(number, f"is longer than {MAX_LINE_BYTES >> 20} MiB")
                number += 1
                block = block[head_end:]
            end = block.rfind(b"\n") + 1
            if end:
                content = bytes(pending) + block[:end]
                yield Lines(number, content)
                number += content.count(b"\n")
                pending.clear()
            pending += block[end:]
    except UserError as error:
        # What is left of the line that was cut off says nothing more.
        yield Problem(number, str(error))
        return
    if is_too_long:
        yield Problem(number, f"is longer than {MAX_LINE_BYTES >> 20} MiB")
    elif pending.strip():
        yield Lines(number, bytes(pending))


def _elements(blocks: Iterator[bytes]) -> Iterator[Chunk]:
    number = 1
    chunk: list[bytes] = []
    size_bytes = 0
    problem = None
    try:
        for unit in _values(blocks):
            chunk.append(unit.replace(b"\n", b" "))  # JSON has none within a string
            size_bytes += len(unit)
            if size_bytes >= _CHUNK_BYTES:
                yield Lines(number, b"\n".join(chunk))
                number += len(chunk)
                size_bytes = 0
                chunk.clear()
    except UserError as error:
        problem = str(error)
    if chunk:
        yield Lines(number, b"\n".join(chunk))
    if problem:
        yield Problem(number + len(chunk), problem)


def _values(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the objects of a document, and what else stands between them."""
    brackets: _Brackets | None = None
    pending = b""
    escapes = b""
    for block in blocks:
        if brackets is None:
            brackets = _Brackets(level=1 if block.lstrip(_SPACE).startswith(b"[") else 0)
        block = escapes + block
        # An escape must not be cut in two.
        escapes = block[len(block.rstrip(b"\\")) :]
        block = block[: len(block) - len(escapes)]
        ends = brackets.ends(block)
        start = 0
        for end in ends:
            yield from _value(pending + block[start:end])
            pending = b""
            start = end
        if brackets.has_too_many:
            raise UserError("closes a bracket that was not opened")
        pending += block[start:]
        if len(pending) > MAX_VALUE_BYTES:
            limit = MAX_VALUE_BYTES >> 20
            raise UserError(f"is longer than {limit} MiB: split the file or make it JSON lines")
    rest = (pending + escapes).strip(_BETWEEN)
    if rest:
        yield rest


def _value(text: bytes) -> Iterator[bytes]:
    text = text.lstrip(_BETWEEN)
    before, brace, rest = text.partition(b"{")
    if before and b'"' not in before:
        yield before.rstrip(_BETWEEN)
        text = brace + rest
    yield text


_QUOTE, _OPEN, _CLOSE = 2, 1, -1
_KINDS = np.zeros(256, np.int8)
_KINDS[list(b'"')] = _QUOTE
_KINDS[list(b"[{")] = _OPEN
_KINDS[list(b"]}")] = _CLOSE


class _Brackets:
    """Finds where values end that stand `level` brackets deep."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._depth = 0
        self._is_in_string = False
        self.has_too_many = False

    def ends(self, block: bytes) -> list[int]:
        """Return the places after the closing brackets of values, for the next block of text.

        They end where a bracket is closed that was not opened.
        """
        unescaped = block.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        kinds = _KINDS[np.frombuffer(unescaped, np.uint8)]
        places = np.flatnonzero(kinds)
        kinds = kinds[places]
        is_quote = kinds == _QUOTE
        num_quotes = np.cumsum(is_quote) + self._is_in_string
        is_bracket = ~is_quote & (num_quotes % 2 == 0)
        kinds, places = kinds[is_bracket], places[is_bracket]
        depths = np.cumsum(kinds, dtype=np.int64) + self._depth
        if num_quotes.size:
            self._is_in_string = bool(num_quotes[-1] % 2)
        if depths.size:
            self._depth = int(depths[-1])
            self.has_too_many = bool(depths.min() < 0)
            if self.has_too_many:
                depths = depths[: np.argmax(depths < 0)]
                kinds, places = kinds[: len(depths)], places[: len(depths)]
        return (places[(kinds == _CLOSE) & (depths == self._level)] + 1).tolist()
