"""Interactions as sessions: who asked what after which answer."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

_COLUMNS = [
    "request_id",
    "application",
    "session_id",
    "user_id",
    "time",
    "prompt",
    "response",
    "status",
    "finish_reason",
    "latency_seconds",
    "messages",
]


class Turn(NamedTuple):
    """A question of a session and the answer that its user saw.

    `request_id` is the interaction that gave the answer, `asked` when the question was sent, and
    `answered` when the answer was there as far as the log knows.
    """

    request_id: str
    application: str
    session_id: str
    user_id: str | None
    asked: datetime
    answered: datetime
    prompt: str
    response: str
    status: int
    finish_reason: str | None


def sessions_of(
    interactions: pl.DataFrame, *, active_since: datetime | None = None
) -> list[list[Turn]]:
    """Return the turns of each session in the order of time; without a session id there is none.

    Sessions without an interaction since `active_since` are left out. Several requests may make
    one turn: an agent that calls tools sends the same question again with the tools' results
    behind it. The last of these requests gave the answer.
    """
    rows = interactions.lazy().filter(pl.col("session_id").is_not_null())
    if active_since is not None:
        rows = rows.filter(pl.col("time").max().over("session_id") >= active_since)
    ordered = (
        rows.select(_COLUMNS)
        .unique("request_id", keep="first", maintain_order=True)
        .sort("session_id", "time", "request_id")
        .with_columns(asks=_ends_with_the_user())
        .drop("messages")
        .collect()
    )
    sessions: list[list[Turn]] = []
    for row in ordered.iter_rows(named=True):
        turn = _turn(row)
        if not sessions or sessions[-1][0].session_id != turn.session_id:
            sessions.append([turn])
        elif row["asks"]:
            sessions[-1].append(turn)
        else:
            sessions[-1][-1] = turn._replace(asked=sessions[-1][-1].asked)
    return sessions


def _ends_with_the_user() -> pl.Expr:
    """Say of each request whether the user spoke last in it; where only a prompt is known, yes."""
    role = pl.col("messages").list.last().struct.field("role")
    return (role == "user").fill_null(value=True)


def _turn(row: dict[str, Any]) -> Turn:
    fields = {name: row[name] for name in _COLUMNS if name in Turn._fields}
    latency = timedelta(seconds=row["latency_seconds"] or 0.0)
    return Turn(asked=row["time"], answered=row["time"] + latency, **fields)
