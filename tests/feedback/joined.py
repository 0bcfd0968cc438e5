"""Feedback and interactions of a few ids, users and hours, to join and to cap."""

import dataclasses
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.records import TIME, a_correction, an_interaction

hours = st.integers(0, 24 * 12)
names = st.sampled_from(["a", "b", "c", "d"])


def about_session(feedback_id: str, session_id: str, **fields: Any) -> Feedback:
    """Return a correction that names a session only."""
    correction = a_correction(feedback_id, "r", "money")
    return dataclasses.replace(correction, request_id=None, session_id=session_id, **fields)


@st.composite
def interactions(draw: st.DrawFn) -> list[Interaction]:
    """Return interactions that share aliases, sessions and users."""
    return [
        an_interaction(
            request_id,
            time=TIME + timedelta(hours=draw(hours)),
            aliases=draw(st.lists(names, max_size=2)),
            session_id=draw(st.none() | names),
            user_id=draw(st.none() | names),
        )
        for request_id in draw(st.lists(st.sampled_from(["a", "q", "r", "s"]), unique=True))
    ]


@st.composite
def signals(draw: st.DrawFn) -> list[Feedback]:
    """Return feedback that names them by any of their ids, or nothing that is there."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        time = TIME + timedelta(hours=draw(hours))
        user_id = draw(st.none() | names)
        if draw(st.booleans()):
            feedback = about_session(f"f{number}", draw(names), time=time, user_id=user_id)
        else:
            request_id = draw(st.sampled_from(["a", "b", "q", "r", "x"]))
            feedback = a_correction(f"f{number}", request_id, "x", time=time, user_id=user_id)
        if draw(st.integers(0, 4)) == 0:
            feedback = dataclasses.replace(
                feedback, kind=FeedbackKind.SCORE, name="judge", value=0.5
            )
        found.append(feedback)
    return found


def tables(asked: list[Interaction], given: list[Feedback]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the feedback and the interactions as tables."""
    return feedback_table(given), interaction_table(asked)
