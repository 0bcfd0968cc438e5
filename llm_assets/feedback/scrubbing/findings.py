"""What a detector reports: where personal data stand in a text, of which type, and which value."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from llm_assets.feedback.scrubbing.config import PersonalDataType


class Finding(NamedTuple):
    """A part of a text, `text[start:end]`, that is personal data.

    `value` is its normalised form: two spellings of one address or number have the same.
    """

    start: int
    end: int
    type: PersonalDataType
    value: str


Detector = Callable[[str], Iterator[Finding]]

_NUM_CONTEXT_CHARACTERS = 40


def stands_before(keyword: re.Pattern[str], text: str, start: int) -> bool:
    """Return whether a keyword stands shortly before a place of a text."""
    return keyword.search(text, max(0, start - _NUM_CONTEXT_CHARACTERS), start) is not None


def without_overlaps(candidates: Iterable[Finding], length: int) -> list[Finding]:
    """Return the findings in order of appearance; where two overlap, the one given first.

    `length` is the text's. Takes time linear in it and in what the findings cover.
    """
    taken = bytearray(length)
    kept: list[Finding] = []
    for finding in candidates:
        start, end = finding.start, finding.end
        if taken.find(1, start, end) == -1:
            taken[start:end] = b"\x01" * (end - start)
            kept.append(finding)
    return sorted(kept)
