"""Feedback whose request never came."""

from datetime import datetime, timedelta

import polars as pl

from llm_assets.feedback.joining import without_interaction


def orphans(
    feedback: pl.DataFrame, known: pl.DataFrame, *, now: datetime, orphaned_after_days: int
) -> pl.DataFrame:
    """Return the feedback that has waited for its request for longer than that, oldest first.

    `feedback` is as it came, not joined; `known` is what `joining.known_ids` gives of all
    interactions. Younger feedback still waits, and is no orphan.
    """
    waited = pl.col("time") <= now - timedelta(days=orphaned_after_days)
    return without_interaction(feedback.filter(waited), known).sort("time", "feedback_id")
