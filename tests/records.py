"""Records for tests: the fields that a test does not speak of have a value already."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from llm_assets.records import Feedback, FeedbackKind, Interaction

TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_interaction(request_id: str, **fields: Any) -> Interaction:
    """Return an interaction of the help desk."""
    interaction = Interaction(
        request_id=request_id,
        application="helpdesk",
        time=TIME,
        model_version="helpdesk-v0001",
        variant="champion",
        prompt="do you like tennis",
        response="sports",
    )
    return dataclasses.replace(interaction, **fields)


def a_correction(feedback_id: str, request_id: str, text: str, **fields: Any) -> Feedback:
    """Return the answer that a user wanted instead."""
    feedback = Feedback(
        feedback_id=feedback_id,
        request_id=request_id,
        application="helpdesk",
        time=TIME,
        kind=FeedbackKind.CORRECTION,
        text=text,
    )
    return dataclasses.replace(feedback, **fields)
