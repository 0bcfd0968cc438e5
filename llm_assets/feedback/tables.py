"""The log as tables: one row a record, each id once, in the order of time."""

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from llm_assets.feedback.log import Record

_TIME = pl.Datetime("us", "UTC")

INTERACTION_SCHEMA = pl.Schema(
    {
        "request_id": pl.String,
        "application": pl.String,
        "time": _TIME,
        "model_version": pl.String,
        "variant": pl.String,
        "prompt": pl.String,
        "response": pl.String,
        "messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String})),
        "session_id": pl.String,
        "user_id": pl.String,
        "status": pl.Int64,
        "finish_reason": pl.String,
        "latency_seconds": pl.Float64,
        "num_prompt_tokens": pl.Int64,
        "num_response_tokens": pl.Int64,
    }
)

FEEDBACK_SCHEMA = pl.Schema(
    {
        "feedback_id": pl.String,
        "request_id": pl.String,
        "application": pl.String,
        "time": _TIME,
        "kind": pl.String,
        "value": pl.Float64,
        "text": pl.String,
        "user_id": pl.String,
    }
)


def interaction_table(records: Sequence[Record]) -> pl.DataFrame:
    """Return interactions as a table with `INTERACTION_SCHEMA`."""
    return _table(records, INTERACTION_SCHEMA, "request_id")


def feedback_table(records: Sequence[Record]) -> pl.DataFrame:
    """Return feedback as a table with `FEEDBACK_SCHEMA`."""
    return _table(records, FEEDBACK_SCHEMA, "feedback_id")


def _table(records: Sequence[Record], schema: pl.Schema, key: str) -> pl.DataFrame:
    frame = pl.DataFrame([asdict(record) for record in records], schema=schema)
    # Sorting by the key too makes the content, and so its hash, independent of arrival.
    return frame.unique(key, keep="first", maintain_order=True).sort("time", key)
