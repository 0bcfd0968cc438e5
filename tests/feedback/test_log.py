import errno
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback import log as log_module
from llm_assets.feedback.log import Log, LogWriter
from llm_assets.records import Interaction
from llm_assets.storage import Partition
from tests.records import an_interaction

DAY = Partition(application="helpdesk", date=date(2026, 3, 1))


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    records = [an_interaction(f"r{i}") for i in range(5)]
    writer = LogWriter(log, lambda record: record)
    writer.append(records[:2])
    writer.append(records[2:])
    assert log.read(DAY) == (records, [])


def test_a_record_lies_under_its_application_and_utc_day(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    late_evening = datetime.fromisoformat("2026-03-01T23:30:00-05:00")
    LogWriter(log, lambda record: record).append([an_interaction("r1", time=late_evening)])
    assert log.partitions() == [Partition(application="helpdesk", date=date(2026, 3, 2))]


def test_a_line_torn_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    LogWriter(log, lambda record: record).append([an_interaction("r1"), an_interaction("r2")])
    (segment,) = log.segments(DAY)
    segment.write_bytes(segment.read_bytes()[:-20])
    assert [record.record_id for record in log.read(DAY)[0]] == ["r1"]


def test_a_corrupt_line_is_named_and_hides_no_other(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    LogWriter(log, lambda record: record).append(
        [an_interaction("r1"), an_interaction("r2"), an_interaction("r3")]
    )
    (segment,) = log.segments(DAY)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + b'{"request_id": 7}\n' + lines[2])
    records, bad = log.read(DAY)
    assert [record.record_id for record in records] == ["r1", "r3"]
    assert str(bad[0]).startswith(f"{segment}:2: ")


def test_two_writers_use_segments_of_their_own(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    first, second = LogWriter(log, lambda record: record), LogWriter(log, lambda record: record)
    first.append([an_interaction("r1")])
    second.append([an_interaction("r2")])
    assert len(log.segments(DAY)) == 2
    assert {record.record_id for record in log.read(DAY)[0]} == {"r1", "r2"}


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log.interactions(tmp_path)
    writer = LogWriter(log, lambda record: record)
    writer.append([an_interaction("r1")])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.append([an_interaction("r2")])
    monkeypatch.undo()
    writer.append([an_interaction("r3")])
    assert [record.record_id for record in log.read(DAY)[0]] == ["r1", "r3"]


def test_rewriting_takes_away_records_torn_lines_and_what_a_crash_left(tmp_path: Path) -> None:
    log = Log.interactions(tmp_path)
    LogWriter(log, lambda record: record).append([an_interaction("r1"), an_interaction("r2")])
    (segment,) = log.segments(DAY)
    with segment.open("ab") as file:
        file.write(b"no record\nnor this\n" + b'{"request_id": "torn')
    (segment.parent / f".{segment.name}.left").write_bytes(b"r1")
    removed = log.rewrite(
        lambda record: record.record_id != "r1",
        is_unreadable_kept=lambda line: line != b"nor this\n",
    )
    assert removed == {DAY: 2}
    assert segment.read_bytes() == an_interaction("r2").to_json() + b"\nno record\n"
    assert [path.name for path in segment.parent.iterdir()] == [segment.name]


@given(text=st.text(), answer=st.text(), seconds=st.integers(1_672_531_200, 4_000_000_000))
def test_json_gives_the_record_back(text: str, answer: str, seconds: int) -> None:
    record = an_interaction("r1", time=datetime.fromtimestamp(seconds, UTC), prompt=text)
    assert Interaction.from_json(record.to_json()) == record
    assert b"\n" not in record.to_json()


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_line_crashes_the_reader(line: bytes) -> None:
    with pytest.raises(UserError):
        Interaction.from_json(line)
