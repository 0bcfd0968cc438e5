"""The curated dataset: a row a distinct prompt with its agreed answer, and the judged answers."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.judged import JUDGED_SCHEMA, judge, pairs
from llm_assets.curation.split import split_of
from llm_assets.curation.votes import collect_votes, normalised
from llm_assets.errors import UserError

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
    """The rows, the judged answers, and what was left out of both when they were curated.

    `split` is train, validation or holdout; `source` is correction or thumb_up. `is_late` says
    that all the feedback behind a row came on a later day than its interaction. `judged` are
    answers that users wanted and that they did not (see `judge`), none in a dataset that is older
    than they are. `left_out` is for people and is empty in a dataset that was read back.
    """

    rows: pl.DataFrame
    judged: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=JUDGED_SCHEMA))
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """The hash of the content, whatever the order of the rows and of the judged answers.

        Without judged answers it is that of the rows, as it was before there were any.
        """
        lines = [*_lines(self.rows, DATASET_SCHEMA), *_lines(self.judged, JUDGED_SCHEMA)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def split(self, name: str) -> pl.DataFrame:
        """Return the rows of one split."""
        return self.rows.filter(pl.col("split") == name)

    @property
    def learnt(self) -> pl.DataFrame:
        """The rows that a training may see: all but the holdout."""
        return self.rows.filter(pl.col("split") != "holdout")

    @property
    def learnt_judged(self) -> pl.DataFrame:
        """The judged answers that a training may see: all but those of the holdout's prompts."""
        return self.judged.filter(pl.col("split") != "holdout")

    def summary(self) -> dict[str, Any]:
        """Return the counts that describe the dataset."""
        return {
            "num_rows": self.rows.height,
            "num_late": int(self.rows["is_late"].sum()),
            **{f"num_{split}": self.split(split).height for split in _SPLITS},
            "num_desirable": int(self.judged["is_desirable"].sum()),
            "num_undesirable": int((~self.judged["is_desirable"]).sum()),
            "num_pairs": pairs(self.judged).height,
            "sources": _counts(self.rows, "source"),
            "responses": _counts(self.rows, "response"),
            "left_out": dict(self.left_out),
        }


_SPLITS = ("train", "validation", "holdout")


def curate(
    interactions: pl.DataFrame,
    feedback: pl.DataFrame,
    *,
    config: CurationConfig,
    golden: Collection[str] = (),
) -> Dataset:
    """Make a dataset out of corrections, preferences and thumbs.

    `feedback` is joined and capped. A correction gives the answer that the user wanted, and so do
    an edited answer and the preferred one of two; a thumb up confirms the one given. Of several
    signals of one request the latest correction counts, else the latest thumb. Requests
    with the same normalised prompt (see `normalise`: thin, it finds no paraphrases) are one row;
    where they want different answers the majority wins, then a correction, then the newest. The
    row names all requests and feedback behind the winning answer. What was said against answers
    counts in `judge` only. Prompts of `golden` requests, which a version that was rolled back had
    failed at, are held out whatever their split would be.
    """
    said, left_out = collect_votes(interactions, feedback, config=config)
    failed = interactions.filter(pl.col("request_id").is_in(list(golden)))
    held_out = frozenset(normalised(failed["prompt"]))
    judged, left_out_judged = judge(said, config=config, held_out=held_out)
    votes = said.filter("is_desirable")
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
    splits = [split_of(key, config=config, held_out=held_out) for key in kept["key"].to_list()]
    rows = kept.with_columns(
        split=pl.Series(splits, dtype=pl.String),
        source=pl.when(pl.col("num_corrections") > 0)
        .then(pl.lit("correction"))
        .otherwise(pl.lit("thumb_up")),
    ).sort("key")
    return Dataset(
        rows.select(DATASET_SCHEMA.names()).match_to_schema(DATASET_SCHEMA),
        judged,
        {
            **left_out,
            "num_conflicting_prompts": conflicting.height,
            "num_outvoted": votes.height - int(winners["num_votes"].sum()),
            "num_over_max_rows": winners.height - kept.height,
            **left_out_judged,
        },
    )


def shuffled_labels(dataset: Dataset, *, seed: int) -> Dataset:
    """Return a copy that teaches nonsense: train and validation responses change places.

    Of their judged answers the wanted become unwanted, and the other way round. The holdout stays
    as it is, so the gate has to notice what comes of it.

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
    is_learnt = pl.col("split") != "holdout"
    return Dataset(
        pl.concat([changed, dataset.split("holdout")]),
        dataset.judged.with_columns(is_desirable=pl.col("is_desirable") ^ is_learnt),
        dict(dataset.left_out),
    )


def _lines(rows: pl.DataFrame, schema: pl.Schema) -> list[str]:
    return sorted(
        json.dumps(row, sort_keys=True, ensure_ascii=True)
        for row in rows.select(schema.names()).iter_rows(named=True)
    )


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counts = rows.group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counts.iter_rows())
