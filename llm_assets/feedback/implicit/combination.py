"""One number out of all implicit signals: how dissatisfied the user seems to be."""

from collections.abc import Mapping
from typing import Literal

import polars as pl

from llm_assets.records import FeedbackKind

COMBINED_SCHEMA = pl.Schema(
    {"id": pl.String, "dissatisfaction": pl.Float64, "num_signals": pl.UInt32}
)

# By how much a sure signal of a kind moves the log odds of dissatisfaction. Set by hand, in the
# order in which the kinds say it outright; `benchmarks/implicit.py` measures what they are worth.
WEIGHTS: Mapping[FeedbackKind, float] = {
    FeedbackKind.CORRECTION_PHRASE: 2.5,
    FeedbackKind.REGENERATE: 1.5,
    FeedbackKind.REPHRASE: 1.5,
    FeedbackKind.ABANDON: 1.5,
    FeedbackKind.EDIT: 0.5,
    FeedbackKind.COPY: -1.5,
    FeedbackKind.THANKS: -2.5,
}
# Where nothing was seen, one user in four is taken to be dissatisfied.
PRIOR = 0.25


def combined(
    feedback: pl.DataFrame,
    *,
    by: Literal["request_id", "session_id"] = "request_id",
    weights: Mapping[FeedbackKind, float] = WEIGHTS,
) -> pl.DataFrame:
    """Return the dissatisfaction of each interaction, or session, that a signal speaks of.

    The columns are `id`, `dissatisfaction` in 0..1, and `num_signals`. The log odds of `PRIOR`
    are moved by weight times confidence of each kind; of several signals of one kind the surest
    counts, so that a long session is not worse for being long. An event of a client without a
    confidence counts as sure. Explicit kinds are passed over.
    """
    weight = pl.DataFrame(
        {"kind": [str(kind) for kind in weights], "weight": list(weights.values())},
        schema={"kind": pl.String, "weight": pl.Float64},
    )
    prior = pl.lit(PRIOR / (1 - PRIOR)).log()
    return (
        feedback.lazy()
        .filter(pl.col(by).is_not_null())
        .join(weight.lazy(), on="kind")
        .group_by(pl.col(by).alias("id"), "kind")
        .agg(
            moved=(pl.col("weight").first() * pl.col("confidence").fill_null(1.0).max()),
            num_signals=pl.len(),
        )
        .group_by("id")
        .agg(
            log_odds=prior.first() + pl.col("moved").sum(), num_signals=pl.col("num_signals").sum()
        )
        .select(
            "id",
            dissatisfaction=1 / (1 + (-pl.col("log_odds")).exp()),
            num_signals=pl.col("num_signals").cast(pl.UInt32),
        )
        .sort("id")
        .collect()
    )
