"""The curated dataset: one row a distinct prompt with the answer that its users agreed on."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.split import split_of
from llm_assets.curation.votes import collect_votes
from llm_assets.errors import UserError
from llm_assets.normalise import normalise

DATASET_SCHEMA = pl.Schema(
    {
        "prompt": pl.String,
        "response": pl.String,
        "split": pl.String,
        "source": pl.String,
        "is_late": pl.Boolean,
        "request_ids": pl.List(pl.String),
        "feedback_ids": pl.List(pl.String),
    }
)


@dataclass(frozen=True)
class Dataset:
    """The rows, and what was left out of them when they were curated.

    `split` is train, validation or holdout; `source` is correction or thumb_up. `is_late` says
    that all the feedback behind a row came on a later day than its interaction. `left_out` is for
    people and is empty in a dataset that was read back.
    """

    rows: pl.DataFrame
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """The hash of the content, whatever the order of the rows."""
        lines = sorted(
            json.dumps(row, sort_keys=True, ensure_ascii=True)
            for row in self.rows.select(DATASET_SCHEMA.names()).iter_rows(named=True)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def split(self, name: str) -> pl.DataFrame:
        """Return the rows of one split."""
        return self.rows.filter(pl.col("split") == name)

    @property
    def learnt(self) -> pl.DataFrame:
        """The rows that a training may see: all but the holdout."""
        return self.rows.filter(pl.col("split") != "holdout")

    def summary(self) -> dict[str, Any]:
        """Return the counts that describe the dataset."""
        return {
            "num_rows": self.rows.height,
            "num_late": int(self.rows["is_late"].sum()),
            **{f"num_{split}": self.split(split).height for split in _SPLITS},
            "sources": _counts(self.rows, "source"),
            "responses": _counts(self.rows, "response"),
            "left_out": dict(self.left_out),
        }


_SPLITS = ("train", "validation", "holdout")


def curate(
    interactions: pl.DataFrame, feedback: pl.DataFrame, *, config: CurationConfig
) -> Dataset:
    """Make a dataset out of corrections and thumbs up.

    `feedback` is joined and capped. A correction gives the answer that the user wanted, and so do
    an edited answer and the preferred one of two; a thumb up confirms the one given. Of several
    signals of one request the latest correction counts, else the latest thumb. Requests
    with the same normalised prompt (see `normalise`: thin, it finds no paraphrases) are one row;
    where they want different answers the majority wins, then a correction, then the newest. The
    row names all requests and feedback behind the winning answer.
    """
    votes, left_out = collect_votes(interactions, feedback, config=config)
    votes = votes.with_columns(
        key=_mapped(votes["prompt"], normalise), answer=_mapped(votes["response"], normalise)
    ).sort("feedback_time", "feedback_id")
    answers = votes.group_by("key", "answer").agg(
        num_votes=pl.len(),
        num_corrections=(pl.col("source") == "correction").sum(),
        newest=pl.col("feedback_time").max(),
        prompt=pl.col("prompt").last(),
        response=pl.col("response").last(),
        is_late=pl.col("is_late").all(),
        request_ids=pl.col("request_id").sort(),
        feedback_ids=pl.col("feedback_id").sort(),
    )
    order = ["num_votes", "num_corrections", "newest"]
    ranked = answers.sort(*order, "answer", descending=[True, True, True, False])
    winners = ranked.unique("key", keep="first", maintain_order=True)
    kept = winners.sort("newest", "key", descending=[True, False]).head(config.max_rows)
    conflicting = answers.group_by("key").len().filter(pl.col("len") > 1)
    splits = [split_of(key, config=config) for key in kept["key"].to_list()]
    rows = kept.with_columns(
        split=pl.Series(splits, dtype=pl.String),
        source=pl.when(pl.col("num_corrections") > 0)
        .then(pl.lit("correction"))
        .otherwise(pl.lit("thumb_up")),
    ).sort("key")
    return Dataset(
        rows.select(DATASET_SCHEMA.names()).match_to_schema(DATASET_SCHEMA),
        {
            **left_out,
            "num_conflicting_prompts": conflicting.height,
            "num_outvoted": votes.height - int(winners["num_votes"].sum()),
            "num_over_max_rows": winners.height - kept.height,
        },
    )


def shuffled_labels(dataset: Dataset, *, seed: int) -> Dataset:
    """Return a copy that teaches nonsense: train and validation responses change places.

    The holdout stays as it is, so the gate has to notice what comes of it.

    Raises:
        UserError: all responses are the same, so no order of them would be wrong.
    """
    learnt = dataset.learnt.sort("prompt")
    responses = learnt["response"].to_numpy()
    if learnt["response"].n_unique() < 2:
        raise UserError("dataset: labels cannot be shuffled, all training responses are the same")
    rng = np.random.default_rng(seed)
    shuffled = responses
    while (shuffled == responses).all():
        shuffled = rng.permutation(responses)
    changed = learnt.with_columns(response=pl.Series(shuffled.tolist(), dtype=pl.String))
    return Dataset(pl.concat([changed, dataset.split("holdout")]), dict(dataset.left_out))


def _mapped(texts: pl.Series, function: Any) -> pl.Series:
    return pl.Series([function(text) for text in texts.to_list()], dtype=pl.String)


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counts = rows.group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counts.iter_rows())
