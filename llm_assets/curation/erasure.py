"""Taking a user's data out of what was curated before: rows, judged answers, and pairs of them."""

import functools
import operator
from collections import Counter
from typing import Any

import polars as pl

from llm_assets.curation.dataset import Dataset
from llm_assets.erasures import Traces
from llm_assets.normalise import normalise

_ANSWERS = ("response", "chosen", "rejected")


def is_touched(rows: pl.DataFrame, traces: Traces) -> pl.Series:
    """Return which rows were made of the user's data, alone or with that of others.

    The rows may be those of any training. The texts count as well, because in a dataset whose
    labels were shuffled a row holds the answer of another one.
    """
    texts = [
        pl.Series([traces.is_theirs(text) for text in rows[name]], dtype=pl.Boolean)
        for name in ("prompt", *_ANSWERS)
        if name in rows.columns
    ]
    ids = [
        rows.select(_has_any(name, theirs))[name]
        for name, theirs in (
            ("request_ids", traces.request_ids),
            ("feedback_ids", traces.feedback_ids),
        )
        if name in rows.columns
    ]
    nothing = pl.repeat(value=False, n=rows.height, eager=True)
    return functools.reduce(operator.or_, [*texts, *ids], nothing)


def num_touched(dataset: Dataset, traces: Traces) -> Counter[str]:
    """Return how many prompts of each split were made of the user's data.

    A prompt counts once, however many answers to it were judged.
    """
    splits: dict[str, str] = {}
    for frame in (dataset.judged, dataset.rows):
        touched = frame.filter(is_touched(frame, traces))
        for prompt, split in touched.select("prompt", "split").iter_rows():
            splits[normalise(prompt)] = split
    return Counter(splits.values())


def without(rows: pl.DataFrame, traces: Traces, *, votes: pl.DataFrame) -> pl.DataFrame:
    """Return the rows without what is the user's.

    A row that others stand behind too stays, in the wording of one of them: `votes` (see
    `collect_votes`) are what the records that stay say. Where they say nothing of an answer in it,
    the row goes.
    """
    touched = is_touched(rows, traces)
    if not touched.any():
        return rows
    said = {
        (vote["feedback_id"], vote["key"], vote["answer"]): vote
        for vote in votes.iter_rows(named=True)
    }
    mended = [_mended(row, said) for row in rows.filter(touched).iter_rows(named=True)]
    kept = [row for row in mended if row is not None]
    return pl.concat([rows.filter(~touched), pl.DataFrame(kept, schema=rows.schema)])


def _mended(
    row: dict[str, Any], said: dict[tuple[str, str, str], dict[str, Any]]
) -> dict[str, Any] | None:
    """Return a row as those say it who stay, or None if nobody does."""
    behind: dict[str, list[dict[str, Any]]] = {}
    for name in _ANSWERS:
        if name in row:
            about = normalise(row["prompt"]), normalise(row[name])
            votes = [said.get((feedback_id, *about)) for feedback_id in row["feedback_ids"]]
            behind[name] = sorted(filter(None, votes), key=_time)
    if not all(behind.values()):
        return None
    everyone = [vote for votes in behind.values() for vote in votes]
    is_correction = any(vote["source"] == "correction" for vote in everyone)
    told = {
        "prompt": max(everyone, key=_time)["prompt"],
        "source": "correction" if is_correction else "thumb_up",
        "is_late": all(vote["is_late"] for vote in everyone),
        "request_ids": sorted({vote["request_id"] for vote in everyone}),
        "feedback_ids": sorted({vote["feedback_id"] for vote in everyone}),
        **{name: votes[-1]["response"] for name, votes in behind.items()},
    }
    return {name: told.get(name, value) for name, value in row.items()}


def _time(vote: dict[str, Any]) -> tuple[Any, str]:
    return vote["feedback_time"], vote["feedback_id"]


def _has_any(name: str, ids: frozenset[str]) -> pl.Expr:
    return pl.col(name).list.eval(pl.element().is_in(set(ids))).list.any().fill_null(value=False)
