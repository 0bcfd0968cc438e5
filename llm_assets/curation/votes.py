"""What each request's feedback says of answers: which one was wanted, and which one was not."""

import polars as pl

from llm_assets.curation.config import CurationConfig
from llm_assets.normalise import normalise

# Each of these holds the answer that was wanted as its text: a preference's is the preferred one.
_ANSWERS = ("correction", "edit", "preference")


def collect_votes(
    interactions: pl.DataFrame, feedback: pl.DataFrame, *, config: CurationConfig
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return what is said of answers, and how much feedback was left out for which reason.

    The last wanted answer of a request speaks for it, else its last thumb. It is a vote for one
    answer or against one, or both: a wanted answer is also a vote against what was given in its
    place, and a preference against the rejected answer. What a failed request was answered is
    not judged, and feedback on a session as a whole is nobody's vote.

    The columns of a vote: prompt, response, is_desirable, their normalised forms key and answer,
    source, is_late, request_id, feedback_id, feedback_time. They are in the order of time, and no
    feedback has two votes on one answer.
    """
    signals = feedback.filter(_is_about_an_answer()).rename({"time": "feedback_time"})
    counted = signals.filter(~pl.col("is_over_cap"))
    asked = interactions.select("request_id", "prompt", "response", "status", "time").unique(
        "request_id", keep="first", maintain_order=True
    )
    joined = counted.select(
        "feedback_id",
        "request_id",
        "feedback_time",
        "value",
        "text",
        "rejected",
        is_answer=_is_answer(),
        is_preference=pl.col("kind") == "preference",
    )
    known = joined.join(asked, on="request_id", how="inner")
    delay = pl.col("feedback_time") - pl.col("time")
    timely = known.filter(delay <= pl.duration(days=config.late_feedback_days))
    # The last row of a request decides; wanted answers are sorted behind thumbs.
    latest = timely.sort("is_answer", "feedback_time", "feedback_id").unique(
        "request_id", keep="last", maintain_order=True
    )
    said = pl.concat([_for_an_answer(latest), _against_an_answer(latest)])
    usable = said.filter((pl.col("prompt") != "") & (pl.col("response") != ""))
    votes = usable.with_columns(
        key=normalised(usable["prompt"]), answer=normalised(usable["response"])
    )
    # Who wants what was given, but for its punctuation, is not against it.
    once = votes.unique(["feedback_id", "key", "answer"], keep="first", maintain_order=True)
    return once.sort("feedback_time", "feedback_id", maintain_order=True), {
        "num_over_cap": signals.height - counted.height,
        "num_unknown_requests": joined.height - known.height,
        "num_too_late": known.height - timely.height,
        "num_blank": said["feedback_id"].n_unique() - usable["feedback_id"].n_unique(),
    }


def _for_an_answer(latest: pl.DataFrame) -> pl.DataFrame:
    wanted = latest.filter(pl.col("is_answer") | ((pl.col("value") > 0) & _is_answered()))
    response = pl.when("is_answer").then("text").otherwise("response")
    return _votes(wanted, response, is_desirable=True)


def _against_an_answer(latest: pl.DataFrame) -> pl.DataFrame:
    is_given_unwanted = (pl.col("is_answer") | (pl.col("value") < 0)) & _is_answered()
    unwanted = latest.filter(pl.col("is_preference") | is_given_unwanted)
    response = pl.when("is_preference").then("rejected").otherwise("response")
    return _votes(unwanted, response, is_desirable=False)


def _votes(latest: pl.DataFrame, response: pl.Expr, *, is_desirable: bool) -> pl.DataFrame:
    thumb = "thumb_up" if is_desirable else "thumb_down"
    return latest.select(
        pl.col("prompt").str.strip_chars(),
        response=response.str.strip_chars(),
        is_desirable=pl.lit(is_desirable),
        source=pl.when("is_answer").then(pl.lit("correction")).otherwise(pl.lit(thumb)),
        is_late=pl.col("feedback_time").dt.date() > pl.col("time").dt.date(),
        request_id="request_id",
        feedback_id="feedback_id",
        feedback_time="feedback_time",
    )


def normalised(texts: pl.Series) -> pl.Series:
    """Return a column of texts in the form in which they are compared."""
    return pl.Series([normalise(text) for text in texts.to_list()], dtype=pl.String)


def promising(feedback: pl.DataFrame) -> pl.DataFrame:
    """Return the feedback that may become a row: what a cycle has to learn from."""
    is_thumb_up = (pl.col("kind") == "thumb") & (pl.col("value") > 0)
    return feedback.filter(
        _is_about_an_answer() & ~pl.col("is_over_cap") & (_is_answer() | is_thumb_up)
    )


def _is_answer() -> pl.Expr:
    return pl.col("kind").is_in(_ANSWERS)


def _is_about_an_answer() -> pl.Expr:
    return (_is_answer() | (pl.col("kind") == "thumb")) & ~pl.col("is_session_level")


def _is_answered() -> pl.Expr:
    return pl.col("status") < 400
