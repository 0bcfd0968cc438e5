"""What could not be read, kept clean of personal data: where it stands, why, and its text.

    quarantine/application=<name>/<16 hex of the hash of the file>.ndjson

The content of a file decides on its quarantine, so ingesting it again replaces it by the same.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from llm_assets.errors import UserError
from llm_assets.feedback.log import Scrub
from llm_assets.records import EARLIEST, Feedback, FeedbackKind

MAX_TEXT_CHARACTERS = 4000
# What is cleaned of a long text: enough that a value cut in two at its end is not among the part
# that is kept, unless nearly all of the text is personal data.
_MAX_CLEANED_CHARACTERS = 16_000
_LONGEST_VALUE_CHARACTERS = 400

_VALUE = re.compile(
    r",? (?:but )?got (?!(?:str|int|float|bool|list|dict|NoneType|-?\d{1,4}(?:\.\d+)?)$).*",
    re.DOTALL,
)
_JSON_PLACE = re.compile(r": line \d+ column \d+.*", re.DOTALL)
# The number of an element, or the id of a part.
_INDEX = re.compile(r"(?<=[\[.])\d+(?=[\].:])|(?<= )(?=\S*\d)[\w-]+(?=:)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}
_MAX_ESCAPINGS = 4  # JSON within JSON within JSON


class Quarantined(NamedTuple):
    """A unit of a file that could not be read; `text` is None where it could not be cleaned."""

    line: int
    reason: str
    text: str | None


def quarantined(
    line: int, reason: str, content: bytes, *, scrub: Scrub, application: str
) -> Quarantined:
    """Return what is kept of a unit: its reason without values, its text without personal data."""
    reason = _VALUE.sub("", reason)
    try:
        text = _cleaned(content, scrub, application)
        reason = _scrubbed(reason, scrub, application)
    except UserError:
        return Quarantined(line, "could not be read, and not be cleaned of personal data", None)
    return Quarantined(line, reason, text)


def rule_of(reason: str) -> str:
    """Return the rule that a reason speaks of: without places within the unit.

    >>> rule_of("is not JSON: unexpected character: line 1 column 2 (char 1)")
    'is not JSON: unexpected character'
    >>> rule_of("span 00f067aa0ba902b7: has no answer")
    'span #: has no answer'
    >>> rule_of("messages.3.content: must be of type str, got int")
    'messages.#.content: must be of type str, got int'
    """
    return _INDEX.sub("#", _JSON_PLACE.sub("", reason))


class QuarantineFile:
    """The quarantine of one file while it is read; it appears as a whole when it is published."""

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder = folder
        self._source = source
        self._temporary: Path | None = None

    def add(self, units: Sequence[Quarantined]) -> None:
        """Keep units that could not be read."""
        if not units:
            return
        if self._temporary is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".")
            os.close(descriptor)
            self._temporary = Path(name)
        with self._temporary.open("ab") as file:
            file.writelines(
                orjson.dumps({"file": str(self._source), **unit._asdict()}) + b"\n"
                for unit in units
            )

    def publish(self, sha256: str) -> Path | None:
        """Replace the quarantine of a content by what was added; without any it goes away."""
        path = self._folder / f"{sha256[:16]}.ndjson"
        if self._temporary is None:
            path.unlink(missing_ok=True)
            return None
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        self._temporary.chmod(0o644)
        self._temporary.replace(path)
        self._temporary = None
        return path

    def discard(self) -> None:
        """Forget what was added and not published."""
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def _cleaned(content: bytes, scrub: Scrub, application: str) -> str | None:
    """Return a unit's text, unescaped: a value next to an escape would not be recognised."""
    text = content[: _MAX_CLEANED_CHARACTERS * 4].decode("utf-8", "replace").strip()
    for _ in range(_MAX_ESCAPINGS):
        after = _ESCAPE.sub(_unescaped, text)
        if after == text:
            break
        text = after
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    is_cut = len(text) > _MAX_CLEANED_CHARACTERS or len(content) > _MAX_CLEANED_CHARACTERS * 4
    cleaned = _scrubbed(text[:_MAX_CLEANED_CHARACTERS], scrub, application)
    if is_cut:
        cleaned = cleaned[: max(0, len(cleaned) - _LONGEST_VALUE_CHARACTERS)]
    return cleaned[:MAX_TEXT_CHARACTERS]


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)


def _scrubbed(text: str, scrub: Scrub, application: str) -> str:
    """Clean a text like a comment, numbered by itself: the result depends on nothing else."""
    if not text:
        return text
    comment = Feedback(
        feedback_id="quarantined",
        application=application,
        time=EARLIEST,
        kind=FeedbackKind.COMMENT,
        request_id="quarantined-" + hashlib.sha256(text.encode()).hexdigest()[:32],
        text=text,
    )
    cleaned = scrub(comment)
    assert isinstance(cleaned, Feedback)
    return cleaned.text or ""
