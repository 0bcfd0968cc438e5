"""Interactions and the feedback on them, as the tables that curation gets."""

from datetime import timedelta
from typing import Any

import polars as pl

from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind
from tests.records import TIME, a_correction, an_interaction


class Log:
    """Collects what users did; each request has an id of its own, in order: r0, r1, ..."""

    def __init__(self) -> None:
        self._interactions: list[Any] = []
        self._feedback: list[Feedback] = []

    def ask(self, prompt: str, *, response: str = "chat", status: int = 200) -> str:
        request_id = f"r{len(self._interactions)}"
        self._interactions.append(
            an_interaction(request_id, prompt=prompt, response=response, status=status)
        )
        return request_id

    def correct(self, request_id: str, text: str, *, days: float = 0) -> None:
        time = TIME + timedelta(days=days)
        self._feedback.append(a_correction(self._next_id(), request_id, text, time=time))

    def thumb(self, request_id: str, value: float, *, days: float = 0) -> None:
        self._feedback.append(
            Feedback(
                feedback_id=self._next_id(),
                request_id=request_id,
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
        return interaction_table(self._interactions), feedback_table(self._feedback)

    def _next_id(self) -> str:
        return f"f{len(self._feedback)}"
