"""One request of a rollout's step: the arm that it was assigned, and what became of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from llm_assets.records import Feedback, FeedbackKind, Interaction

_NEUTRAL_RATING = 3


@dataclass(slots=True)
class Answer:
    """What is counted of an answer: no text of it."""

    time: datetime
    model_version: str
    user: str | None
    session_id: str | None
    status: int
    is_empty: bool
    is_declined: bool
    is_cached: bool
    seconds: float | None
    first_token_seconds: float | None
    num_tokens: int | None
    num_prompt_characters: int
    num_user_messages: int

    @classmethod
    def of(cls, interaction: Interaction, *, declines: Callable[[str], bool]) -> Self:
        """Return what is counted of an interaction; `declines` says whether a text declines."""
        return cls(
            time=interaction.time,
            model_version=interaction.model_version,
            user=interaction.user_id,
            session_id=interaction.session_id,
            status=interaction.status,
            is_empty=not interaction.response.strip(),
            is_declined=declines(interaction.response),
            is_cached=interaction.is_cached,
            seconds=_finite(interaction.latency_seconds),
            first_token_seconds=_finite(interaction.first_token_seconds),
            num_tokens=interaction.num_response_tokens,
            num_prompt_characters=len(interaction.prompt),
            num_user_messages=sum(m.get("role") == "user" for m in interaction.messages),
        )

    @property
    def is_blank(self) -> bool:
        """Whether the model answered with nothing."""
        return self.status < 400 and self.is_empty

    @property
    def is_good(self) -> bool:
        """Whether the model said something."""
        return self.status < 400 and not self.is_empty


@dataclass(slots=True)
class Request:
    """A request by its id; `said` is what was said of it, by the feedback's id."""

    request_id: str
    variant: str
    has_failed: bool = False
    fell_back: bool = False
    answer: Answer | None = None
    shadow: Answer | None = None
    said: dict[str, Feedback] = field(default_factory=dict)

    @property
    def user(self) -> str:
        """Who asked: the unit that was assigned to the arm."""
        of_answer = self.answer and (self.answer.user or self.answer.session_id)
        return of_answer or self.request_id

    @property
    def is_liked(self) -> bool | None:
        """What the latest thumb, rating, or correction says; None where there is none."""
        last = self._last(_is_verdict)
        return None if last is None else _is_positive(last)

    @property
    def wanted(self) -> str | None:
        """The answer that the user wanted instead."""
        last = self._last(lambda feedback: feedback.kind is FeedbackKind.CORRECTION)
        return last.text if last else None

    @property
    def has_event(self) -> bool:
        """Whether the latest score is above 0; only those of the step's event are kept."""
        last = self._last(lambda feedback: feedback.kind is FeedbackKind.SCORE)
        return last is not None and (last.value or 0) > 0

    def _last(self, is_meant: Callable[[Feedback], bool]) -> Feedback | None:
        if not self.said:
            return None  # as of most requests
        return max(filter(is_meant, self.said.values()), key=_order, default=None)


def _order(feedback: Feedback) -> tuple[datetime, bool, str]:
    # A correction often comes with its thumb down in the same moment: it decides then.
    return feedback.time, feedback.kind is FeedbackKind.CORRECTION, feedback.feedback_id


def _is_verdict(feedback: Feedback) -> bool:
    if feedback.kind is FeedbackKind.RATING:
        return feedback.value != _NEUTRAL_RATING
    return feedback.kind in (FeedbackKind.THUMB, FeedbackKind.CORRECTION)


def _is_positive(verdict: Feedback) -> bool:
    if verdict.kind is FeedbackKind.RATING:
        return (verdict.value or 0) > _NEUTRAL_RATING
    return verdict.kind is FeedbackKind.THUMB and (verdict.value or 0) > 0


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and math.isfinite(seconds) else None
