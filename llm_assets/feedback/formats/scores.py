"""How a named score of a human or a judge becomes feedback: one rule for all formats.

Of a human, true and false, 0 and 1, -1 and 1, and labels such as `thumbs_up` are a thumb; 1 to 5
under a name with "rating" or "star" is a rating; other numbers are a score; a label that says
nothing to us is a comment under its name. What a model or a program judged is always a score: no
user said it. Free text beside a human's score is a comment of its own, beside a judge's it stays
with the score. The answer that somebody wanted instead is a correction.
"""

from datetime import datetime
from typing import Any, NamedTuple

from llm_assets.errors import UserError
from llm_assets.feedback.formats.bodies import answer_of
from llm_assets.feedback.formats.reading import Parts, Reading, derived_id, number_of
from llm_assets.records import Feedback, FeedbackKind

_THUMBS = {
    "thumbs_up": 1.0,
    "thumb_up": 1.0,
    "up": 1.0,
    "👍": 1.0,
    "good": 1.0,
    "like": 1.0,
    "positive": 1.0,
    "thumbs_down": -1.0,
    "thumb_down": -1.0,
    "down": -1.0,
    "👎": -1.0,
    "bad": -1.0,
    "dislike": -1.0,
    "negative": -1.0,
}
# What judges answer; most are asked a question of yes or no.
_VERDICTS = {"yes": 1.0, "true": 1.0, "pass": 1.0, "no": 0.0, "false": 0.0, "fail": 0.0}
_RATING_NAMES = ("rating", "star")


class Target(NamedTuple):
    """What a score speaks of, who gave it, and when."""

    application: str
    time: datetime
    request_id: str | None
    session_id: str | None = None
    user_id: str | None = None


def read_score(
    target: Target,
    *,
    feedback_id: str,
    name: str | None,
    value: Any = None,
    label: Any = None,
    comment: Any = None,
    correction: Any = None,
    is_human: bool = True,
    is_graded: bool = False,
) -> Reading:
    """Return the feedback that a score, its label, its comment, and a correction amount to.

    What is said first keeps the id `feedback_id`; what is said beside it gets one derived of it.
    `is_graded` says that 0 and 1 are points of a scale, not a thumb. Values of other types are
    passed over, as is a score that says nothing.

    Raises:
        UserError: `target` names neither a request nor a session.
    """
    if target.request_id is None and target.session_id is None:
        raise UserError("a score must name the request or the session that it speaks of")
    said = _Said(target, feedback_id, name)
    if is_human:
        _read_opinion(said, value, label, is_graded=is_graded)
        said.add_text(FeedbackKind.COMMENT, comment)
        said.add_text(FeedbackKind.CORRECTION, answer_of(correction))
    else:
        _read_verdict(said, value, label, comment)
    if not (said.parts.records or said.parts.problems):
        said.parts.num_passed_over += 1
    return said.parts.reading()


class _Said:
    """Makes feedback about one target."""

    def __init__(self, target: Target, feedback_id: str, name: str | None) -> None:
        self._target = target
        self._feedback_id = feedback_id
        self._name = name or "score"
        self.parts = Parts()

    @property
    def name(self) -> str:
        return self._name

    def add(self, kind: FeedbackKind, *, value: float | None = None, text: Any = None) -> None:
        is_first = not self.parts.records
        with self.parts.part(kind.value):
            self.parts.records.append(
                Feedback(
                    feedback_id=(
                        self._feedback_id if is_first else derived_id(self._feedback_id, kind)
                    ),
                    kind=kind,
                    value=value,
                    text=text if isinstance(text, str) and text.strip() else None,
                    name=self._name,
                    **self._target._asdict(),
                )
            )

    def add_text(self, kind: FeedbackKind, text: Any) -> None:
        if isinstance(text, str) and text.strip():
            self.add(kind, text=text)


def _read_opinion(said: _Said, value: Any, label: Any, *, is_graded: bool) -> None:
    """A human's."""
    if isinstance(value, bool):
        said.add(FeedbackKind.THUMB, value=1.0 if value else -1.0)
        return
    if isinstance(value, str):
        label, value = value, None
    number, thumb = number_of(value), _THUMBS.get(_plain(label))
    is_thumb = number in (-1, 0, 1) and not is_graded
    if thumb is not None and (number is None or is_thumb):
        said.add(FeedbackKind.THUMB, value=thumb)
    elif number in (1, 2, 3, 4, 5) and any(word in said.name.lower() for word in _RATING_NAMES):
        said.add(FeedbackKind.RATING, value=number)
    elif is_thumb:
        said.add(FeedbackKind.THUMB, value=1.0 if number == 1 else -1.0)
    elif number is not None:
        said.add(FeedbackKind.SCORE, value=number)
    else:
        said.add_text(FeedbackKind.COMMENT, label)


def _read_verdict(said: _Said, value: Any, label: Any, explanation: Any) -> None:
    """A judge's."""
    if isinstance(value, str):
        label, value = value, None
    plain = _plain(label)
    number = float(value) if isinstance(value, bool) else number_of(value)
    if number is None:
        number = _VERDICTS.get(plain, _THUMBS.get(plain))
    if number is not None:
        said.add(FeedbackKind.SCORE, value=number, text=explanation)


def _plain(label: Any) -> str:
    if not isinstance(label, str) or len(label) > 20:
        return ""
    return label.strip().lower().replace(" ", "_").replace("-", "_")
