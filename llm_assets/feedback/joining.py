"""Which interaction each feedback speaks of.

Feedback names a request by its id, by an alias of it such as the id of its trace, or names only a
session. Where several interactions share the alias or the session, the last one before the feedback
is meant; where all of them came after it (clocks differ), the first of those.
"""

from datetime import timedelta
from typing import Literal

import polars as pl

from llm_assets.feedback.tables import FEEDBACK_SCHEMA

# Of an interaction, what joining needs to know.
JOINED_BY = ("request_id", "time", "session_id", "user_id", "aliases")
# How far an interaction's clock may be ahead of its feedback's.
CLOCK_TOLERANCE = timedelta(days=1)


def join(feedback: pl.DataFrame, interactions: pl.DataFrame, *, max_days: int) -> pl.DataFrame:
    """Return the feedback with the id of the interaction that it speaks of as its `request_id`.

    `is_session_level` tells feedback that named a session only: it counts for the last interaction
    of the session where satisfaction is measured, and is nobody's vote for an answer. `session_id`
    and `user_id` are those of the interaction where the feedback has none. Feedback whose
    interaction is not there, or over `max_days` older, stays as it came.

    The result for one feedback depends on the interactions from `max_days` before it to
    `CLOCK_TOLERANCE` after it, and on no other feedback, so a few days can be joined alone.
    """
    asked = interactions.select("request_id", "time", "session_id", "user_id")
    by_request = asked.with_columns(id="request_id")
    by_alias = (
        interactions.select("request_id", "time", "session_id", "user_id", id="aliases")
        .explode("id", empty_as_null=False, keep_nulls=False)
        .drop_nulls("id")
    )
    by_session = asked.with_columns(id="session_id").drop_nulls("id")
    numbered = feedback.select(FEEDBACK_SCHEMA.names()).with_row_index("row")
    of_requests = numbered.select("row", "time", id="request_id").drop_nulls("id")
    of_sessions = (
        numbered.filter(pl.col("request_id").is_null())
        .select("row", "time", id="session_id")
        .drop_nulls("id")
    )
    found = pl.concat(
        [
            _last_before(of_requests, by_request, max_days).with_columns(rank=0),
            _last_before(of_requests, by_alias, max_days).with_columns(rank=1),
            _last_before(of_sessions, by_session, max_days).with_columns(rank=2),
        ]
    )
    # An id that is both somebody's own and another's alias means the former.
    best = found.sort("row", "rank").unique("row", keep="first", maintain_order=True)
    joined = numbered.join(best.drop("rank"), on="row", how="left", maintain_order="left")
    return joined.with_columns(
        is_session_level=pl.col("request_id").is_null(),
        request_id=pl.coalesce("asked_request_id", "request_id"),
        session_id=pl.coalesce("session_id", "asked_session_id"),
        user_id=pl.coalesce("user_id", "asked_user_id"),
    ).select(*FEEDBACK_SCHEMA, "is_session_level")


_FROM_INTERACTION = ("request_id", "session_id", "user_id")


def _last_before(feedback: pl.DataFrame, interactions: pl.DataFrame, max_days: int) -> pl.DataFrame:
    """Return `row` of each feedback whose id is found, and what was asked then."""
    candidates = interactions.select(
        "id", "time", *(pl.col(name).alias(f"asked_{name}") for name in _FROM_INTERACTION)
    ).sort("time", "asked_request_id")
    # Only ids that are named can be found, and most interactions have no feedback.
    candidates = candidates.join(feedback, on="id", how="semi", maintain_order="left")
    asks = feedback.sort("time")
    earlier = _nearest(asks, candidates, "backward", timedelta(days=max_days))
    later = _nearest(asks, candidates, "forward", CLOCK_TOLERANCE)
    return pl.concat([earlier, later.join(earlier, on="row", how="anti")])


def _nearest(
    asks: pl.DataFrame,
    candidates: pl.DataFrame,
    strategy: Literal["backward", "forward"],
    tolerance: timedelta,
) -> pl.DataFrame:
    found = asks.join_asof(
        candidates,
        on="time",
        by="id",
        strategy=strategy,
        tolerance=tolerance,
        check_sortedness=False,  # both are sorted by time, which cannot be checked within an id
    )
    return found.drop_nulls("asked_request_id").select(
        "row", *(f"asked_{name}" for name in _FROM_INTERACTION)
    )


def known_ids(interactions: pl.DataFrame) -> pl.DataFrame:
    """Return every id by which feedback may name an interaction or its session, each once."""
    ids = pl.concat(
        [
            interactions.select(id="request_id", is_session=False),
            interactions.select(id=pl.col("aliases").explode()).with_columns(is_session=False),
            interactions.select(id="session_id", is_session=True),
        ]
    )
    return ids.drop_nulls("id").unique()


def without_interaction(feedback: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return the feedback, as it came, that names no known id."""
    named = pl.coalesce("request_id", "session_id")
    return (
        feedback.with_columns(id=named, is_session=pl.col("request_id").is_null())
        .join(known, on=["id", "is_session"], how="anti", maintain_order="left")
        .drop("id", "is_session")
    )
