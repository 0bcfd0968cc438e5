"""Which records are one user's, found by the user's id in the log and its tables.

An interaction is the user's if it names the user, or if it names nobody and belongs to a session
in which the user is named. Feedback is the user's if it names the user, or if it speaks of an
interaction or a session of theirs, whoever gave it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import polars as pl

from llm_assets.erasures import Traces, text_hash
from llm_assets.feedback.log import Record
from llm_assets.records import Feedback
from llm_assets.storage import write_atomically

Frames = Callable[[], Iterable[pl.DataFrame]]

INTERACTION_COLUMNS = ("request_id", "session_id", "user_id", "aliases", "prompt", "response")
FEEDBACK_COLUMNS = ("feedback_id", "request_id", "session_id", "user_id", "text", "rejected")
_TEXTS = ("prompt", "response", "text", "rejected")


@dataclass
class Found:
    """What leads to a user's data, and the prompts and all texts that are the user's alone."""

    traces: Traces
    prompts: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)


def find(
    interactions: Frames, feedback: Frames, others: Frames, *, user_ids: Collection[str]
) -> Found:
    """Return what leads to a user's data.

    Each argument gives the same frames whenever it is called; a record may be in several of them.
    `others` are records that stay whoever they are of: a text that is in one is not the user's
    alone.
    """
    named = pl.col("user_id").is_in(set(user_ids))
    requests, sessions, aliases = set[str](), set[str](), set[str]()
    for frame in interactions():
        mine = frame.filter(named)
        requests |= _values(mine, "request_id")
        sessions |= _values(mine, "session_id")
        aliases |= _values(mine, "aliases")
    anonymous = pl.col("user_id").is_null() & pl.col("session_id").is_in(sessions)
    prompts, texts, shared_sessions = set[str](), set[str](), set[str]()
    taken = set[str]()
    for frame in interactions():
        is_mine = (named | anonymous).fill_null(value=False)
        mine, kept = frame.filter(is_mine), frame.filter(~is_mine)
        requests |= _values(mine, "request_id")
        prompts |= _values(mine, "prompt")
        texts |= _texts(mine)
        taken |= aliases & (_values(kept, "request_id") | _values(kept, "aliases"))
        shared_sessions |= sessions & _values(kept, "session_id")
    # A trace id may stand for several interactions; where one of them stays, so does the feedback.
    requests |= aliases - taken
    traces = Traces(
        user_ids=frozenset(user_ids),
        session_ids=frozenset(sessions - shared_sessions),
        request_ids=frozenset(requests),
    )
    feedback_ids = set[str]()
    for frame in feedback():
        mine = frame.filter(is_theirs(frame, traces))
        feedback_ids |= _values(mine, "feedback_id")
        texts |= _texts(mine)
    traces = traces | Traces(feedback_ids=frozenset(feedback_ids))
    for frames in (interactions, feedback):
        for frame in frames():
            texts -= _shared(frame.filter(~is_theirs(frame, traces)), texts)
    for frame in others():
        texts -= _shared(frame, texts)
    alone = {prompt for prompt in prompts if prompt.strip() in texts}
    hashes = frozenset(text_hash(text) for text in texts)
    return Found(traces | Traces(text_hashes=hashes), alone, texts)


def is_theirs(frame: pl.DataFrame, traces: Traces) -> pl.Series:
    """Return which rows of any table about interactions or feedback are the user's."""
    has = frame.columns
    conditions = [
        pl.col(name).is_in(set(values))
        for name, values in (
            ("user_id", traces.user_ids),
            ("request_id", traces.request_ids),
            ("feedback_id", traces.feedback_ids),
        )
        if name in has and frame.schema[name] == pl.String
    ]
    if "feedback_id" in has and "session_id" in has and "request_id" in has:
        conditions.append(
            pl.col("request_id").is_null() & pl.col("session_id").is_in(set(traces.session_ids))
        )
    if not conditions:
        return pl.repeat(value=False, n=frame.height, eager=True)
    of_user = pl.any_horizontal(*(condition.fill_null(value=False) for condition in conditions))
    return frame.select(of_user.alias("is_theirs"))["is_theirs"]


def is_kept(record: Record, traces: Traces) -> bool:
    """Whether a record of the log stays: the same rule as `is_theirs`."""
    if record.user_id in traces.user_ids or record.request_id in traces.request_ids:
        return False
    if not isinstance(record, Feedback):
        return True
    is_of_session = record.request_id is None and record.session_id in traces.session_ids
    return record.feedback_id not in traces.feedback_ids and not is_of_session


def mentions(content: bytes, traces: Traces) -> bool:
    """Whether a line that is no record holds one of the ids as a word of its own."""
    ids = traces.user_ids | traces.request_ids | traces.feedback_ids
    return any(
        re.search(rb"(?<![\w-])" + re.escape(key.encode()) + rb"(?![\w-])", content)
        for key in ids
        if key.encode() in content
    )


def clean_quarantine(folder: Path, traces: Traces, *, is_dry: bool) -> int:
    """Remove the lines of an application's quarantine that mention the user; return how many."""
    num_removed = 0
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not mentions(_plain(line), traces)]
        num_removed += len(lines) - len(kept)
        if len(kept) < len(lines) and not is_dry:
            write_atomically(path, b"".join(kept))
    return num_removed


def _plain(line: bytes) -> bytes:
    """Return the line with the text in it as it was, where it is JSON in JSON."""
    try:
        text = orjson.loads(line).get("text")
    except (ValueError, AttributeError):
        return line
    return line + b"\n" + str(text).encode("utf-8", "surrogatepass")


def _values(frame: pl.DataFrame, name: str) -> set[str]:
    if name not in frame.columns:
        return set()
    column = frame[name]
    if column.dtype == pl.List(pl.String):
        column = column.explode()
    return set(column.drop_nulls().to_list()) if column.dtype == pl.String else set()


def _texts(frame: pl.DataFrame) -> set[str]:
    found = _columns(frame)
    return {stripped for text in found if (stripped := text.strip())}


def _columns(frame: pl.DataFrame) -> Iterator[str]:
    for name in _TEXTS:
        yield from _values(frame, name)


def _shared(frame: pl.DataFrame, texts: set[str]) -> set[str]:
    """Return which of the texts are in a frame, looked up without making Python strings of all."""
    if not texts:
        return set()
    shared = set[str]()
    for name in _TEXTS:
        if name in frame.columns and frame.schema[name] == pl.String:
            stripped = frame[name].drop_nulls().str.strip_chars()
            shared |= set(stripped.filter(stripped.is_in(texts)).to_list())
    return shared
