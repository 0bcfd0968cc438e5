"""Training examples as records: they have no id and no time, so both come from the content.

An example is an interaction, and what its file says of the answer is feedback. The id is a hash,
so reading a file twice changes nothing; the day is `UNDATED`.
"""

from collections.abc import Sequence

from llm_assets.errors import UserError
from llm_assets.feedback.formats.reading import UNDATED, Reading, digest, interaction_of
from llm_assets.records import Feedback, FeedbackKind

Messages = list[dict[str, str]]


def approved_example(
    application: str, prefix: str, messages: Messages, answer: str, *, thumb: float | None
) -> Reading:
    """Return an example of an answer, with a thumb unless nothing is said of it.

    Raises:
        UserError: the conversation has no text of the user, or the answer is empty.
    """
    feedback = [] if thumb is None else [(FeedbackKind.THUMB, thumb, None)]
    request_id = f"{prefix}-{digest(messages, answer)}"
    return _example(application, request_id, messages, answer, feedback)


def preferred_example(application: str, messages: Messages, chosen: str, rejected: str) -> Reading:
    """Return an example of a better and a worse answer: an interaction with the better.

    Raises:
        UserError: the conversation has no text of the user, or an answer is empty.
    """
    if not rejected.strip():
        raise UserError("the rejected answer must have text")
    request_id = f"pref-{digest(messages, chosen, rejected)}"
    feedback = [(FeedbackKind.PREFERENCE, None, rejected)]
    return _example(application, request_id, messages, chosen, feedback)


def _example(
    application: str,
    request_id: str,
    messages: Messages,
    answer: str,
    feedback: Sequence[tuple[FeedbackKind, float | None, str | None]],
) -> Reading:
    if not answer.strip():
        raise UserError("the answer must have text")
    interaction = interaction_of(
        request_id=request_id,
        application=application,
        time=UNDATED,
        messages=messages,
        response=answer,
    )
    said = [
        Feedback(
            feedback_id=f"{request_id}-{kind}",
            application=application,
            time=UNDATED,
            kind=kind,
            request_id=request_id,
            value=value,
            text=None if rejected is None else answer,
            rejected=rejected,
        )
        for kind, value, rejected in feedback
    ]
    return Reading([interaction, *said], [])
