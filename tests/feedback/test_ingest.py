import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.formats import read_record
from llm_assets.feedback.ingest import ingest
from llm_assets.feedback.log import Log
from llm_assets.feedback.tables import interaction_table
from llm_assets.storage import Partition
from tests.records import a_correction, an_interaction

CHAT: dict[str, Any] = {
    "request": {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a bank helper."},
            {"role": "user", "content": [{"type": "text", "text": "My top-up failed."}]},
        ],
        "user": "u-17",
    },
    "response": {
        "id": "chatcmpl-1",
        "created": 1760000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"message": {"content": "Retry."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 21, "completion_tokens": 14},
    },
}


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_a_file_may_mix_formats(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "mixed.ndjson",
        an_interaction("r1").to_json(),
        a_correction("f1", "r1", "money").to_json(),
        json.dumps(CHAT).encode(),
    )
    report = ingest([file], application="helpdesk", home=tmp_path)
    assert (report.num_accepted, report.num_duplicates, report.bad_lines) == (3, 0, [])
    day = Partition(application="helpdesk", date=date(2025, 10, 9))
    ((interaction,), _) = Log.interactions(tmp_path).read(day)
    assert getattr(interaction, "prompt", None) == "My top-up failed."
    assert interaction.time == datetime.fromtimestamp(1760000000, UTC)


def test_ingesting_a_file_twice_changes_nothing(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.ndjson", *(an_interaction(f"r{i}").to_json() for i in "123"))
    ingest([file], application="helpdesk", home=tmp_path)
    log = Log.interactions(tmp_path)
    before = {path: path.read_bytes() for path in log.root.rglob("*.ndjson")}
    report = ingest([file], application="helpdesk", home=tmp_path)
    assert (report.num_accepted, report.num_duplicates) == (0, 3)
    assert {path: path.read_bytes() for path in log.root.rglob("*.ndjson")} == before


def test_a_corrupt_line_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    good = an_interaction("r1").to_json()
    other = an_interaction("r2", application="bank").to_json()
    file = write_lines(tmp_path / "a.ndjson", good, b'{"half', b"[1]", b'{"a": 1}', other)
    report = ingest([file], application="helpdesk", home=tmp_path)
    assert report.num_accepted == 1
    reasons = [str(line) for line in report.bad_lines]
    assert reasons[0].startswith(f"{file}:2: is not JSON")
    assert reasons[1] == f"{file}:3: is not a JSON object"
    assert reasons[2] == f"{file}:4: is of no known format (native, openai-chat)"
    assert reasons[3] == f"{file}:5: application: must be 'helpdesk', got 'bank'"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.ndjson: cannot be read: No such file"):
        ingest([tmp_path / "missing.ndjson"], application="helpdesk", home=tmp_path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from(
        [
            ("request",),
            ("response",),
            ("response", "choices"),
            ("request", "messages"),
            ("response", "created"),
            ("response", "usage"),
            ("response", "id"),
        ]
    ),
)
def test_any_value_in_a_chat_log_gives_a_record_or_one_line(value: Any, path: tuple[str]) -> None:
    fields = json.loads(json.dumps(CHAT))
    place = fields
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        problem = ""
        assert read_record(fields, application="helpdesk").application == "helpdesk"
    except UserError as error:
        problem = str(error)
    assert "\n" not in problem


def test_a_table_holds_each_record_once_whatever_the_order_of_arrival() -> None:
    records = [an_interaction(f"r{i}") for i in range(4)]
    first = interaction_table([*records, records[1]])
    second = interaction_table(records[::-1])
    assert first.equals(second)
    assert first.height == 4


def test_an_empty_log_is_a_table_without_rows() -> None:
    assert interaction_table([]).is_empty()
