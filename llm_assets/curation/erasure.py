"""Taking a user's data out of the rows of a dataset that was curated before."""

from typing import Any

import polars as pl

from llm_assets.erasures import Traces
from llm_assets.normalise import normalise


def is_touched(rows: pl.DataFrame, traces: Traces) -> pl.Series:
    """Return which rows were made of the user's data, alone or with that of others.

    The texts count as well, because in a dataset whose labels were shuffled a row holds the answer
    of another one.
    """
    texts = [
        pl.Series([traces.is_theirs(text) for text in rows[name]], dtype=pl.Boolean)
        for name in ("prompt", "response")
    ]
    ids = rows.select(
        is_touched=_has_any("request_ids", traces.request_ids)
        | _has_any("feedback_ids", traces.feedback_ids)
    )["is_touched"]
    return ids | texts[0] | texts[1]


def without(rows: pl.DataFrame, traces: Traces, *, votes: pl.DataFrame) -> pl.DataFrame:
    """Return the rows without what is the user's.

    A row that others stand behind too stays, in the wording of one of them: `votes` (see
    `collect_votes`) are what the records that stay say. Where they say nothing, the row goes.
    """
    touched = is_touched(rows, traces)
    if not touched.any():
        return rows
    by_feedback = {vote["feedback_id"]: vote for vote in votes.iter_rows(named=True)}
    mended = [_mended(row, by_feedback) for row in rows.filter(touched).iter_rows(named=True)]
    kept = [row for row in mended if row is not None]
    return pl.concat([rows.filter(~touched), pl.DataFrame(kept, schema=rows.schema)])


def _mended(row: dict[str, Any], votes: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return a row as those say it who stay, or None if nobody does."""
    wanted = normalise(row["prompt"]), normalise(row["response"])
    behind = [
        vote
        for feedback_id in row["feedback_ids"]
        if (vote := votes.get(feedback_id)) is not None
        and (normalise(vote["prompt"]), normalise(vote["response"])) == wanted
    ]
    if not behind:
        return None
    behind.sort(key=lambda vote: (vote["feedback_time"], vote["feedback_id"]))
    is_correction = any(vote["source"] == "correction" for vote in behind)
    return {
        **row,
        "prompt": behind[-1]["prompt"],
        "response": behind[-1]["response"],
        "source": "correction" if is_correction else "thumb_up",
        "is_late": all(vote["is_late"] for vote in behind),
        "request_ids": sorted(vote["request_id"] for vote in behind),
        "feedback_ids": sorted(vote["feedback_id"] for vote in behind),
    }


def _has_any(name: str, ids: frozenset[str]) -> pl.Expr:
    return pl.col(name).list.eval(pl.element().is_in(set(ids))).list.any().fill_null(value=False)
