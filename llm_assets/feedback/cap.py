"""How much of one user's feedback counts, so that nobody alone decides what is learnt."""

import polars as pl


def cap(feedback: pl.DataFrame, *, max_per_user_and_day: int) -> pl.DataFrame:
    """Return joined feedback with `is_over_cap`: whether it is one too many to count.

    Of a user and UTC day the first `max_per_user_and_day` signals count. Where no user is known a
    session stands for one, and where neither is, the request. Scores are given by judges and
    programs and count nowhere, so they are not counted here either.

    What counts of a day depends on the feedback of that day alone. Feedback that arrives late can
    take the place of what was given after it.
    """
    giver = pl.coalesce(
        pl.concat_str(pl.lit("user "), "user_id"),
        pl.concat_str(pl.lit("session "), "session_id"),
        pl.concat_str(pl.lit("request "), "request_id"),
    )
    signals = feedback.select(
        "feedback_id", "time", "kind", giver=giver, day=pl.col("time").dt.date()
    ).with_row_index("row")
    place = pl.int_range(pl.len()).over("giver", "day")
    over = (
        signals.filter((pl.col("kind") != "score") & pl.col("giver").is_not_null())
        .sort("time", "feedback_id")
        .filter(place >= max_per_user_and_day)
    )
    is_over = signals["row"].is_in(over["row"].implode())
    return feedback.with_columns(is_over_cap=is_over)
