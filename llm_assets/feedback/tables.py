"""The log as tables: one row a record, each id once, in the order of time."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from llm_assets.errors import UserError
from llm_assets.feedback.log import BadLine, Log, Record, complete_lines
from llm_assets.records import Interaction
from llm_assets.storage import Partition

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
        "aliases": pl.List(pl.String),
        "confidence": pl.Float64,
        "first_token_seconds": pl.Float64,
        "is_cached": pl.Boolean,
    }
)

FEEDBACK_SCHEMA = pl.Schema(
    {
        "feedback_id": pl.String,
        "application": pl.String,
        "time": _TIME,
        "kind": pl.String,
        "request_id": pl.String,
        "session_id": pl.String,
        "value": pl.Float64,
        "text": pl.String,
        "rejected": pl.String,
        "name": pl.String,
        "user_id": pl.String,
        "confidence": pl.Float64,
        "rule": pl.String,
    }
)


# So many records are objects in memory at once; their table is far smaller.
_BATCH = 20_000


def interaction_table(records: Sequence[Record]) -> pl.DataFrame:
    """Return interactions as a table with `INTERACTION_SCHEMA`."""
    return _once_in_order(_frame(records, INTERACTION_SCHEMA), "request_id")


def feedback_table(records: Sequence[Record]) -> pl.DataFrame:
    """Return feedback as a table with `FEEDBACK_SCHEMA`."""
    return _once_in_order(_frame(records, FEEDBACK_SCHEMA), "feedback_id")


def read_table(log: Log, partition: Partition) -> tuple[pl.DataFrame, list[BadLine]]:
    """Return a day of a log as the table of its records, and the lines that hold none.

    The same as `interaction_table` or `feedback_table` of what `log.read` gives, with a batch of
    records in memory instead of all.
    """
    is_interactions = log.record is Interaction
    schema = INTERACTION_SCHEMA if is_interactions else FEEDBACK_SCHEMA
    bad: list[BadLine] = []
    frames = [
        _frame(batch, schema) for batch in _batched(_valid_records(log, partition, bad), _BATCH)
    ]
    frame = pl.concat(frames) if frames else pl.DataFrame(schema=schema)
    return _once_in_order(frame, "request_id" if is_interactions else "feedback_id"), bad


def _valid_records(log: Log, partition: Partition, bad: list[BadLine]) -> Iterator[Record]:
    for segment in log.segments(partition):
        for number, line in complete_lines(segment):
            try:
                yield log.record.from_json(line)
            except UserError as error:
                bad.append(BadLine(file=segment, line=number, reason=str(error)))


def _batched(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while batch := list(itertools.islice(records, size)):
        yield batch


def _once_in_order(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    once = frame.filter(pl.col(key).is_first_distinct())
    # Sorting by the key too makes the content, and so its hash, independent of arrival.
    return once.sort("time", key)


def _frame(records: Sequence[Record], schema: pl.Schema) -> pl.DataFrame:
    # Column by column: `asdict` copies deeply, which took four times as long as all the rest.
    columns = {name: [getattr(record, name) for record in records] for name in schema}
    return pl.DataFrame(
        {
            name: _NESTED.get(name, pl.Series)(values=columns[name], dtype=schema[name])
            for name in schema
        },
        schema=schema,
    )


def _text_lists(values: Sequence[Sequence[str]], dtype: pl.DataType) -> pl.Series:
    """Return lists of texts as a column, by way of one flat column of all texts."""
    import pyarrow as pa

    flat = pa.array([text for texts in values for text in texts], pa.large_string())
    return _from_arrow(pa.LargeListArray.from_arrays(_offsets(values), flat), dtype)


def _messages(values: Sequence[Sequence[Mapping[str, str]]], dtype: pl.DataType) -> pl.Series:
    """Return conversations as a column; of a message only its role and content are kept."""
    import pyarrow as pa

    keys = ("role", "content")
    flat = [
        pa.array(
            [message.get(key) for messages in values for message in messages], pa.large_string()
        )
        for key in keys
    ]
    structs = pa.StructArray.from_arrays(flat, keys)
    return _from_arrow(pa.LargeListArray.from_arrays(_offsets(values), structs), dtype)


_NESTED: Mapping[str, Callable[..., pl.Series]] = {"messages": _messages, "aliases": _text_lists}


def _offsets(values: Sequence[Sequence[Any]]) -> Any:
    import pyarrow as pa

    return pa.array([0, *itertools.accumulate(map(len, values))], pa.int64())


def _from_arrow(array: Any, dtype: pl.DataType) -> pl.Series:
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.cast(dtype)
