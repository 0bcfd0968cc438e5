"""What each request's feedback says the right answer was."""

import polars as pl

from llm_assets.curation.config import CurationConfig


def collect_votes(
    interactions: pl.DataFrame, feedback: pl.DataFrame, *, config: CurationConfig
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return one vote a request, and how much feedback was left out for which reason.

    The columns of a vote: prompt, response (the wanted answer), source, is_late, request_id,
    feedback_id, feedback_time.
    """
    signals = feedback.filter(pl.col("kind").is_in(["correction", "thumb"])).rename(
        {"time": "feedback_time"}
    )
    asked = interactions.select("request_id", "prompt", "response", "status", "time").unique(
        "request_id", keep="first", maintain_order=True
    )
    joined = signals.select("feedback_id", "request_id", "feedback_time", "kind", "value", "text")
    known = joined.join(asked, on="request_id", how="inner")
    delay = pl.col("feedback_time") - pl.col("time")
    timely = known.filter(delay <= pl.duration(days=config.late_feedback_days))
    # The last row of a request decides; corrections are sorted behind thumbs.
    latest = timely.sort(pl.col("kind") == "correction", "feedback_time", "feedback_id").unique(
        "request_id", keep="last", maintain_order=True
    )
    wanted = latest.filter(
        (pl.col("kind") == "correction") | ((pl.col("value") > 0) & (pl.col("status") < 400))
    )
    votes = wanted.select(
        pl.col("prompt").str.strip_chars(),
        response=pl.when(pl.col("kind") == "correction")
        .then(pl.col("text"))
        .otherwise(pl.col("response"))
        .str.strip_chars(),
        source=pl.when(pl.col("kind") == "correction")
        .then(pl.lit("correction"))
        .otherwise(pl.lit("thumb_up")),
        is_late=pl.col("feedback_time").dt.date() > pl.col("time").dt.date(),
        request_id="request_id",
        feedback_id="feedback_id",
        feedback_time="feedback_time",
    )
    usable = votes.filter((pl.col("prompt") != "") & (pl.col("response") != ""))
    return usable, {
        "num_unknown_requests": joined.height - known.height,
        "num_too_late": known.height - timely.height,
        "num_blank": votes.height - usable.height,
    }
