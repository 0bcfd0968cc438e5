"""What each request's feedback says the right answer was."""

import polars as pl

from llm_assets.curation.config import CurationConfig

# Each of these holds the answer that was wanted as its text: a preference's is the preferred one.
_ANSWERS = ("correction", "edit", "preference")


def collect_votes(
    interactions: pl.DataFrame, feedback: pl.DataFrame, *, config: CurationConfig
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return one vote a request, and how much feedback was left out for which reason.

    Feedback on a session as a whole is nobody's vote for an answer. The columns of a vote: prompt,
    response (the wanted answer), source, is_late, request_id, feedback_id, feedback_time.
    """
    signals = feedback.filter(_is_about_an_answer()).rename({"time": "feedback_time"})
    counted = signals.filter(~pl.col("is_over_cap"))
    asked = interactions.select("request_id", "prompt", "response", "status", "time").unique(
        "request_id", keep="first", maintain_order=True
    )
    joined = counted.select(
        "feedback_id", "request_id", "feedback_time", "value", "text", is_answer=_is_answer()
    )
    known = joined.join(asked, on="request_id", how="inner")
    delay = pl.col("feedback_time") - pl.col("time")
    timely = known.filter(delay <= pl.duration(days=config.late_feedback_days))
    # The last row of a request decides; wanted answers are sorted behind thumbs.
    latest = timely.sort("is_answer", "feedback_time", "feedback_id").unique(
        "request_id", keep="last", maintain_order=True
    )
    wanted = latest.filter(pl.col("is_answer") | ((pl.col("value") > 0) & (pl.col("status") < 400)))
    given = pl.when(pl.col("is_answer"))
    votes = wanted.select(
        pl.col("prompt").str.strip_chars(),
        response=given.then("text").otherwise("response").str.strip_chars(),
        source=given.then(pl.lit("correction")).otherwise(pl.lit("thumb_up")),
        is_late=pl.col("feedback_time").dt.date() > pl.col("time").dt.date(),
        request_id="request_id",
        feedback_id="feedback_id",
        feedback_time="feedback_time",
    )
    usable = votes.filter((pl.col("prompt") != "") & (pl.col("response") != ""))
    return usable, {
        "num_over_cap": signals.height - counted.height,
        "num_unknown_requests": joined.height - known.height,
        "num_too_late": known.height - timely.height,
        "num_blank": votes.height - usable.height,
    }


def promising(feedback: pl.DataFrame) -> pl.DataFrame:
    """Return the feedback that may become a vote: what a cycle has to learn from."""
    is_thumb_up = (pl.col("kind") == "thumb") & (pl.col("value") > 0)
    return feedback.filter(
        _is_about_an_answer() & ~pl.col("is_over_cap") & (_is_answer() | is_thumb_up)
    )


def _is_answer() -> pl.Expr:
    return pl.col("kind").is_in(_ANSWERS)


def _is_about_an_answer() -> pl.Expr:
    return (_is_answer() | (pl.col("kind") == "thumb")) & ~pl.col("is_session_level")
