"""The numbers about rows, columns and days that rules are checked on.

Facts hold ids, numbers and lengths and never a text of a user: what breaks a rule is shown in the
UI and stays in its event log, which an erasure does not reach.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from llm_assets.feedback.joining import without_interaction
from llm_assets.feedback.tables import FEEDBACK_SCHEMA, INTERACTION_SCHEMA
from llm_assets.feedback.validation.volume import Usual

_WITH_TEXT = ("comment", "correction", "edit", "preference")


def column_facts(frame: pl.DataFrame, schema: pl.Schema, *, day: date) -> pl.DataFrame:
    """Return one row a column: the type that it has and the one that it should have."""
    names = list(dict.fromkeys([*schema, *frame.columns]))
    return pl.DataFrame(
        {
            "date": [day.isoformat()] * len(names),
            "id": names,
            "type": [str(frame.schema.get(name, "missing")) for name in names],
            "expected_type": [str(schema.get(name, "not there")) for name in names],
        },
        schema=dict.fromkeys(("date", "id", "type", "expected_type"), pl.String),
    )


def interaction_facts(frame: pl.DataFrame, *, day: date) -> pl.DataFrame:
    """Return what the rules ask of each interaction."""
    rows = _with_types(frame, INTERACTION_SCHEMA)
    length = pl.col("prompt").fill_null("").str.strip_chars().str.len_chars()
    return rows.select(
        *_common("request_id", day),
        "status",
        "latency_seconds",
        "first_token_seconds",
        "num_prompt_tokens",
        "num_response_tokens",
        prompt_length=pl.when(pl.col("status") < 400).then(length),
    )


def feedback_facts(frame: pl.DataFrame, *, day: date, known: pl.DataFrame) -> pl.DataFrame:
    """Return what the rules ask of each feedback; `known` is of `joining.known_ids`."""
    rows = _with_types(frame, FEEDBACK_SCHEMA).with_row_index("row")
    unknown = without_interaction(rows, known)["row"]
    kind, value = pl.col("kind"), pl.col("value")
    text_length = pl.col("text").fill_null("").str.len_chars()
    return rows.select(
        *_common("feedback_id", day),
        "kind",
        "confidence",
        thumb=pl.when(kind == "thumb").then(value.fill_null(0)),
        rating=pl.when(kind == "rating").then(value.fill_null(0)),
        text_length=pl.when(kind.is_in(_WITH_TEXT)).then(text_length),
        num_ids=pl.sum_horizontal(
            pl.col(name).is_not_null().cast(pl.Int64) for name in ("request_id", "session_id")
        ),
        is_unknown=pl.col("row").is_in(unknown.implode()).cast(pl.Int64),
    )


def day_facts(
    frame: pl.DataFrame | None, *, day: date, usual: Usual, is_newest: bool, now: datetime
) -> pl.DataFrame:
    """Return what the rules ask of a day; a frame that is None was never published."""
    num_rows = 0 if frame is None else frame.height
    age_days = None
    if is_newest and frame is not None and frame.height:
        newest = _with_types(frame.select("time"), pl.Schema({"time": _TIME}))["time"].max()
        age_days = (now - newest).total_seconds() / 86400 if isinstance(newest, datetime) else None
    facts: dict[str, Sequence[Any]] = {
        "date": [day.isoformat()],
        "id": [None],
        "num_published_rows": [None if frame is None else num_rows],
        "rows_beyond_usual": [usual.excess(num_rows, is_over=day < now.date())],
        "age_days": [age_days],
    }
    types = (pl.String, pl.String, pl.Int64, pl.Float64, pl.Float64)
    return pl.DataFrame(facts, schema=dict(zip(facts, types, strict=True)))


_TIME = INTERACTION_SCHEMA["time"]


def _common(key: str, day: date) -> list[pl.Expr]:
    return [
        pl.lit(day.isoformat()).alias("date"),
        pl.col(key).alias("id"),
        pl.concat_str(pl.lit(f"{day.isoformat()} "), pl.col(key)).alias("day_and_id"),
        (pl.col("time").dt.date() - pl.lit(day)).dt.total_days().alias("days_off"),
    ]


def _with_types(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Return the columns that a schema has; what is missing or cannot be read so is null."""
    simple = {name: dtype for name, dtype in schema.items() if not dtype.is_nested()}
    return frame.select(
        pl.col(name).cast(dtype, strict=False)
        if name in frame.columns
        else pl.lit(None, dtype).alias(name)
        for name, dtype in simple.items()
    )
