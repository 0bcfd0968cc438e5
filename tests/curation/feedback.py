"""Interactions and the feedback on them, as the tables that curation gets."""

import dataclasses
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from llm_assets.feedback.cap import cap
from llm_assets.feedback.joining import join
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind
from tests.records import TIME, a_correction, an_interaction

_PROMPTS = st.text("abAB ?!.é", max_size=6)
_ANSWERS = st.sampled_from(["x", "X!", "y", "z"])
_KINDS = st.sampled_from(["up", "down", "correct", "prefer"])
# What users did: asked a prompt, got an answer, said something of it, and named another answer.
EVENTS = st.lists(st.tuples(_PROMPTS, _ANSWERS, _KINDS, _ANSWERS), max_size=40)
Events = list[tuple[str, str, str, str]]


def log_of(events: Events) -> "Log":
    """Return a log in which each event has a request of its own."""
    log = Log()
    for prompt, given, kind, other in events:
        request = log.ask(prompt, response=given)
        if kind == "correct":
            log.correct(request, other)
        elif kind == "prefer":
            log.prefer(request, given, kind=FeedbackKind.PREFERENCE, rejected=other)
        else:
            log.thumb(request, 1 if kind == "up" else -1)
    return log


class Log:
    """Collects what users did; each request has an id of its own, in order: r0, r1, ..."""

    def __init__(self, *, max_per_user_and_day: int = 100) -> None:
        self._cap = max_per_user_and_day
        self._interactions: list[Any] = []
        self._feedback: list[Feedback] = []

    def ask(self, prompt: str, *, response: str = "chat", **fields: Any) -> str:
        request_id = f"r{len(self._interactions)}"
        self._interactions.append(
            an_interaction(request_id, prompt=prompt, response=response, **fields)
        )
        return request_id

    def correct(self, request_id: str, text: str, *, days: float = 0) -> None:
        time = TIME + timedelta(days=days)
        self._feedback.append(a_correction(self._next_id(), request_id, text, time=time))

    def prefer(
        self, request_id: str, text: str, *, kind: FeedbackKind, rejected: str = "chat"
    ) -> None:
        correction = a_correction(self._next_id(), request_id, text)
        self._feedback.append(dataclasses.replace(correction, kind=kind, rejected=rejected))

    def thumb(
        self,
        request_id: str | None,
        value: float,
        *,
        days: float = 0,
        session_id: str | None = None,
    ) -> None:
        self._feedback.append(
            Feedback(
                feedback_id=self._next_id(),
                request_id=request_id,
                session_id=session_id,
                application="helpdesk",
                time=TIME + timedelta(days=days),
                kind=FeedbackKind.THUMB,
                value=value,
            )
        )

    def asked_and_corrected(self, prompt: str, text: str, *, days: float = 0) -> None:
        self.correct(self.ask(prompt), text, days=days)

    @property
    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        interactions = interaction_table(self._interactions)
        joined = join(feedback_table(self._feedback), interactions, max_days=30)
        return interactions, cap(joined, max_per_user_and_day=self._cap)

    def _next_id(self) -> str:
        return f"f{len(self._feedback)}"
