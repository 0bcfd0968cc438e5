"""The judged answers: each with whether users wanted it, for tuning that learns from both kinds."""

from collections.abc import Collection

import polars as pl

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.split import split_of
from llm_assets.curation.votes import normalised

JUDGED_SCHEMA = pl.Schema(
    {
        "prompt": pl.String,
        "response": pl.String,
        "is_desirable": pl.Boolean,
        "split": pl.String,
        "request_ids": pl.List(pl.String),
        "feedback_ids": pl.List(pl.String),
    }
)
PAIRS_SCHEMA = pl.Schema(
    {
        "prompt": pl.String,
        "chosen": pl.String,
        "rejected": pl.String,
        "split": pl.String,
        "request_ids": pl.List(pl.String),
        "feedback_ids": pl.List(pl.String),
    }
)

# So that one prompt which many disagreed about cannot fill a training set.
_MAX_PAIRS_PER_PROMPT = 4


def judge(
    votes: pl.DataFrame, *, config: CurationConfig, held_out: Collection[str] = frozenset()
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return each answer with what most users said of it, and how many were left out and why.

    `votes` are those of `collect_votes`. An answer as many were for as against is left out. The
    row names the requests and the feedback of the majority only, and is in the words of the newest
    of it. A prompt is in the same split as in the rows of the dataset.
    """
    answer = ("key", "answer")
    sides = votes.group_by(*answer, "is_desirable").agg(
        num_votes=pl.len(),
        newest=pl.col("feedback_time").max(),
        prompt=pl.col("prompt").last(),
        response=pl.col("response").last(),
        request_ids=pl.col("request_id").sort(),
        feedback_ids=pl.col("feedback_id").sort(),
    )
    most = sides.filter(pl.col("num_votes") == pl.col("num_votes").max().over(answer))
    settled = most.filter(pl.len().over(answer) == 1)
    newest_first = settled.sort("newest", *answer, descending=[True, False, False])
    kept = newest_first.head(config.max_rows)
    splits = [split_of(key, config=config, held_out=held_out) for key in kept["key"].to_list()]
    judged = kept.with_columns(split=pl.Series(splits, dtype=pl.String)).sort(answer)
    return judged.select(JUDGED_SCHEMA.names()).match_to_schema(JUDGED_SCHEMA), {
        "num_tied_answers": (most.height - settled.height) // 2,
        "num_judged_over_max_rows": settled.height - kept.height,
    }


def pairs(judged: pl.DataFrame) -> pl.DataFrame:
    """Return the wanted beside the unwanted answers of each prompt, a few pairs a prompt.

    The answers that the most requests stand behind come first, so that is what the pairs that are
    kept are made of. A pair is in the words that its chosen answer's prompt has, and names the
    requests and the feedback behind both answers.
    """
    ranked = (
        judged.with_columns(key=normalised(judged["prompt"]))
        .sort(pl.col("request_ids").list.len(), "response", descending=[True, False])
        .with_columns(rank=pl.int_range(pl.len()).over("key", "is_desirable"))
        # A pair that is kept has a place before the last one on both of its sides.
        .filter(pl.col("rank") < _MAX_PAIRS_PER_PROMPT)
    )
    chosen = ranked.filter("is_desirable").rename({"response": "chosen"})
    rejected = ranked.filter(~pl.col("is_desirable")).rename({"response": "rejected"})
    both = chosen.join(rejected, on="key", suffix="_rejected").sort(
        "key", pl.col("rank") + pl.col("rank_rejected"), "rank"
    )
    first = both.filter(pl.int_range(pl.len()).over("key") < _MAX_PAIRS_PER_PROMPT)
    united = [
        pl.col(name).list.set_union(f"{name}_rejected").list.sort()
        for name in ("request_ids", "feedback_ids")
    ]
    return first.with_columns(united).select(PAIRS_SCHEMA.names()).match_to_schema(PAIRS_SCHEMA)
