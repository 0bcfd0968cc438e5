"""How content the users of one day were, as far as they said so, however late they said it."""

import polars as pl

from llm_assets.intervals import wilson

QUALITY_SCHEMA = pl.Schema(
    {
        "metric": pl.String,
        "value": pl.Float64,
        "interval_low": pl.Float64,
        "interval_high": pl.Float64,
        "num_events": pl.Int64,
        "n": pl.Int64,
    }
)

_CONTENT_RATING = 4


def quality_scores(interactions: pl.DataFrame, feedback: pl.DataFrame) -> pl.DataFrame:
    """Return one row a rate for the interactions of a day, each with n and a 95 % interval.

    `feedback` is joined; it may hold everything known, what speaks of other interactions is passed
    over. Feedback on a session as a whole counts for the interaction that it was joined to, and
    scores, which judges give and not users, nowhere. Failed interactions count in the error rate
    only.

    - `satisfaction_rate`: of the answers with a thumb, rating or correction, those whose latest
      such signal is a thumb up or a rating of 4 or 5. A correction says the answer was wrong.
    - `correction_rate`, `feedback_rate`: of all answers, those with a correction, any feedback.
    - `error_rate`: of all interactions, those that ended with a status of 400 or more.

    A rate of nothing is nan.
    """
    answered = interactions.filter(pl.col("status") < 400)
    given = feedback.filter(pl.col("kind") != "score")
    about = given.join(answered.select("request_id"), on="request_id", how="semi")
    corrected = about.filter(pl.col("kind") == "correction")
    verdicts = _latest_verdicts(about)
    num_answered = answered.height
    num_failed = interactions.height - num_answered
    rows = [
        _rate("satisfaction_rate", int(verdicts["is_content"].sum()), verdicts.height),
        _rate("correction_rate", corrected["request_id"].n_unique(), num_answered),
        _rate("error_rate", num_failed, interactions.height),
        _rate("feedback_rate", about["request_id"].n_unique(), num_answered),
    ]
    return pl.DataFrame(rows, schema=QUALITY_SCHEMA, orient="row")


def _latest_verdicts(feedback: pl.DataFrame) -> pl.DataFrame:
    kind, value = pl.col("kind"), pl.col("value")
    return (
        feedback.filter(kind.is_in(["thumb", "rating", "correction"]))
        # A correction often comes with its thumb down in the same moment: it decides then.
        .sort("time", kind == "correction", "feedback_id")
        .unique("request_id", keep="last", maintain_order=True)
        .select(
            "request_id",
            is_content=((kind == "thumb") & (value > 0))
            | ((kind == "rating") & (value >= _CONTENT_RATING)),
        )
    )


def _rate(metric: str, num_events: int, n: int) -> tuple[str, float, float, float, int, int]:
    value = num_events / n if n else float("nan")
    low, high = wilson(num_events, n)
    return (metric, value, low, high, num_events, n)
