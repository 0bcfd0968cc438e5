"""Sessions for tests: questions of one user, a minute apart, each answered at once."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from llm_assets.feedback.implicit.sessions import Turn, sessions_of
from llm_assets.feedback.tables import interaction_table
from llm_assets.records import Interaction
from tests.records import TIME, an_interaction


def asked(*prompts: str | Mapping[str, Any], session_id: str = "s") -> list[Interaction]:
    """Return one interaction a prompt; a mapping gives other fields of one as well.

    `minute` is when it was asked; otherwise it is a minute after the one before.
    """
    interactions: list[Interaction] = []
    for number, given in enumerate(prompts):
        fields: dict[str, Any] = {"prompt": given} if isinstance(given, str) else dict(given)
        minute = fields.pop("minute", number)
        fields = {"response": "An answer.", "session_id": session_id, **fields}
        time = TIME + timedelta(minutes=minute)
        interactions.append(an_interaction(f"{session_id}-{number}", time=time, **fields))
    return interactions


def sessions(*interactions: Interaction) -> list[list[Turn]]:
    """Return interactions as sessions."""
    return sessions_of(interaction_table(interactions))
