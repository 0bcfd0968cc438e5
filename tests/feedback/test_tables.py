import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.feedback import tables
from llm_assets.feedback.log import Log, LogWriter, Record
from llm_assets.feedback.tables import (
    FEEDBACK_SCHEMA,
    INTERACTION_SCHEMA,
    feedback_table,
    interaction_table,
    read_table,
)
from llm_assets.records import Feedback, FeedbackKind, Interaction
from llm_assets.storage import Partition, Table
from tests.records import TIME, a_correction, an_interaction

DAY = Partition(application="helpdesk", date=TIME.date())

texts = st.text(st.characters(codec="utf-8"), max_size=8)
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
moments = st.integers(0, 11 * 3600 * 10**6).map(lambda us: TIME + timedelta(microseconds=us))
counts = st.none() | st.integers(0, 2**63 - 1)
interactions = st.builds(
    Interaction,
    request_id=ids,
    application=st.just("helpdesk"),
    time=moments,
    model_version=texts,
    variant=texts,
    prompt=texts,
    response=texts,
    messages=st.lists(
        st.dictionaries(st.sampled_from(["role", "content", "name"]), texts), max_size=3
    ),
    session_id=st.none() | texts,
    user_id=st.none() | texts,
    status=st.integers(100, 599),
    finish_reason=st.none() | texts,
    latency_seconds=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    num_prompt_tokens=counts,
    num_response_tokens=counts,
    aliases=st.lists(ids, max_size=3),
    confidence=st.none() | st.floats(0, 1),
    first_token_seconds=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    is_cached=st.booleans(),
)
signals = st.builds(
    Feedback,
    feedback_id=ids,
    application=st.just("helpdesk"),
    time=moments,
    kind=st.sampled_from([FeedbackKind.RATING, FeedbackKind.CORRECTION, FeedbackKind.THANKS]),
    request_id=ids,
    session_id=st.none() | ids,
    value=st.integers(1, 5).map(float),
    text=ids,
    name=st.none() | texts,
    confidence=st.none() | st.floats(0, 1),
    rule=st.none() | texts,
)


def row_by_row(records: list[Any], schema: pl.Schema, key: str) -> pl.DataFrame:
    """Return the table as it is defined: the fields of every record, each id once, in order."""
    frame = pl.DataFrame([asdict(record) for record in records], schema=schema)
    return frame.unique(key, keep="first", maintain_order=True).sort("time", key)


def logged(root: Path, record: type[Record], records: list[Any]) -> Log:
    log = Log(root, record)
    LogWriter(log, lambda record: record).append(records)
    return log


@settings(max_examples=60)
@given(st.lists(interactions, max_size=6))
def test_a_table_of_interactions_holds_the_fields_of_every_record(
    records: list[Interaction],
) -> None:
    expected = row_by_row(records, INTERACTION_SCHEMA, "request_id")
    table = interaction_table(records)
    assert table.schema == INTERACTION_SCHEMA
    assert table.equals(expected)


@settings(max_examples=60)
@given(st.lists(signals, max_size=6))
def test_a_table_of_feedback_holds_the_fields_of_every_record(records: list[Feedback]) -> None:
    table = feedback_table(records)
    assert table.schema == FEEDBACK_SCHEMA
    assert table.equals(row_by_row(records, FEEDBACK_SCHEMA, "feedback_id"))


@settings(max_examples=30)
@given(records=st.lists(interactions, max_size=8))
def test_a_day_read_in_batches_is_the_table_of_its_records(
    tmp_path_factory: pytest.TempPathFactory, records: list[Interaction]
) -> None:
    log = logged(tmp_path_factory.mktemp("log"), Interaction, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_BATCH", 2)
        table, bad = read_table(log, DAY)
    assert bad == []
    assert table.equals(interaction_table(log.read(DAY)[0]))


def test_the_order_of_arrival_does_not_matter_and_an_id_stands_once(tmp_path: Path) -> None:
    later = TIME + timedelta(seconds=1)
    records = [an_interaction("b"), an_interaction("c", time=later), an_interaction("a")]
    log = logged(tmp_path, Interaction, [*records, records[0]])
    assert read_table(log, DAY)[0]["request_id"].to_list() == ["a", "b", "c"]


def test_lines_without_a_record_are_told_and_torn_ones_passed_over(tmp_path: Path) -> None:
    log = logged(tmp_path, Feedback, [a_correction("f1", "r1", "money")])
    (segment,) = log.segments(DAY)
    whole = segment.read_bytes()
    segment.write_bytes(b'{"no": "record"}\n\n' + whole + whole[:-1])
    table, bad = read_table(log, DAY)
    assert table["feedback_id"].to_list() == ["f1"]
    assert [(line.file, line.line) for line in bad] == [(segment, 1)]
    assert bad == log.read(DAY)[1]


def test_a_log_of_before_there_were_shadows_and_caches_reads_on(tmp_path: Path) -> None:
    log = logged(tmp_path, Interaction, [an_interaction("r1")])
    (segment,) = log.segments(DAY)
    fields = json.loads(segment.read_bytes())
    del fields["first_token_seconds"], fields["is_cached"]
    segment.write_bytes(json.dumps(fields).encode() + b"\n")
    table, bad = read_table(log, DAY)
    assert (bad, table.schema) == ([], INTERACTION_SCHEMA)
    assert table.select("first_token_seconds", "is_cached").rows() == [(None, False)]


def test_what_a_table_was_not_told_when_it_was_written_is_null(tmp_path: Path) -> None:
    table = Table(tmp_path)
    rows = interaction_table([an_interaction("r1")])
    table.write(DAY, rows.drop("first_token_seconds", "is_cached"))
    other = Partition(application="helpdesk", date=DAY.date + timedelta(days=1))
    table.write(other, interaction_table([an_interaction("r2", first_token_seconds=0.5)]))
    read = table.read_many([DAY, other], schema=INTERACTION_SCHEMA)
    assert read.schema == INTERACTION_SCHEMA
    assert read.select("first_token_seconds", "is_cached").rows() == [(None, None), (0.5, False)]


def test_a_day_without_records_is_an_empty_table(tmp_path: Path) -> None:
    table, bad = read_table(Log(tmp_path, Feedback), DAY)
    assert (table.schema, table.height, bad) == (FEEDBACK_SCHEMA, 0, [])
