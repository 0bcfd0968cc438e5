import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback import ingest as ingest_module
from llm_assets.feedback.ingest import ingest
from llm_assets.feedback.ingestion.report import IngestReport
from llm_assets.feedback.log import Log, Record, Scrub
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from llm_assets.feedback.tables import interaction_table, read_table
from llm_assets.records import Interaction
from llm_assets.storage import Partition
from tests.records import TIME, a_correction, an_interaction

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
SCRUBBING = partial(Scrubbers, {}, bytes(32))


def as_it_is() -> Scrub:
    return lambda record: record


def ingest_all(
    home: Path, *files: Path, make_scrub: Callable[[], Scrub] = as_it_is
) -> IngestReport:
    return ingest(files, application="helpdesk", home=home, make_scrub=make_scrub)


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def interactions(home: Path) -> dict[str, Interaction]:
    log = Log.interactions(home)
    found: dict[str, Interaction] = {}
    for partition in log.partitions():
        records, bad = log.read(partition)
        assert bad == []
        for record in records:
            assert isinstance(record, Interaction)
            assert record.request_id not in found
            found[record.request_id] = record
    return found


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quarantine(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "quarantine" / "application=helpdesk").glob("*.ndjson"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def test_a_file_may_mix_formats(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "mixed.ndjson",
        an_interaction("r1").to_json(),
        a_correction("f1", "r1", "money").to_json(),
        json.dumps(CHAT).encode(),
    )
    report = ingest_all(tmp_path, file)
    assert (report.num_accepted, report.num_duplicates, report.num_quarantined) == (3, 0, 0)
    day = Partition(application="helpdesk", date=date(2025, 10, 9))
    ((interaction,), _) = Log.interactions(tmp_path).read(day)
    assert getattr(interaction, "prompt", None) == "My top-up failed."
    assert interaction.time == datetime.fromtimestamp(1760000000, UTC)


def test_ingesting_files_twice_changes_nothing(tmp_path: Path) -> None:
    lines = [an_interaction(f"r{i}").to_json() for i in "123"]
    file = write_lines(tmp_path / "a.ndjson", *lines, b"{half", lines[0])
    home = tmp_path / "home"
    report = ingest_all(home, file)
    assert (report.num_accepted, report.num_duplicates, report.num_quarantined) == (3, 1, 1)
    before = content_of(home)
    report = ingest_all(home, file)
    assert (report.num_accepted, report.num_duplicates, report.num_quarantined) == (0, 4, 1)
    assert content_of(home) == before


def test_what_a_shadow_answered_is_no_interaction_of_a_table(tmp_path: Path) -> None:
    shadow = an_interaction("r1", variant="shadow", response="unseen")
    lines = [an_interaction("r1").to_json(), shadow.to_json(), shadow.to_json()]
    file = write_lines(tmp_path / "mixed.ndjson", *lines)
    report = ingest_all(tmp_path, file)
    assert (report.num_accepted, report.num_duplicates) == (2, 1)
    report = ingest_all(tmp_path, file)
    assert (report.num_accepted, report.num_duplicates) == (0, 3)
    day = Partition(application="helpdesk", date=TIME.date())
    seen, _ = read_table(Log.interactions(tmp_path), day)
    assert seen["response"].to_list() == ["sports"]
    assert Log.shadows(tmp_path).read(day) == ([shadow], [])


def test_ids_that_are_pseudonyms_in_the_log_are_recognised(tmp_path: Path) -> None:
    lines = [an_interaction(f"anna{i}@example.com").to_json() for i in range(3)]
    file = write_lines(tmp_path / "a.ndjson", *lines, lines[1])
    home = tmp_path / "home"
    report = ingest_all(home, file, make_scrub=SCRUBBING)
    assert (report.num_accepted, report.num_duplicates) == (3, 1)
    before = content_of(home)
    assert not any(b"anna" in content for content in before.values())
    report = ingest_all(home, file, make_scrub=SCRUBBING)
    assert (report.num_accepted, report.num_duplicates) == (0, 4)
    assert content_of(home) == before


def test_a_corrupt_line_is_in_quarantine_and_the_others_are_kept(tmp_path: Path) -> None:
    good = an_interaction("r1").to_json()
    other = an_interaction("r2", application="bank").to_json()
    file = write_lines(tmp_path / "a.ndjson", good, b'{"half', b"[1]", b"", b'{"a": 1}', other)
    report = ingest_all(tmp_path, file)
    assert report.num_accepted == 1
    units = quarantine(tmp_path)
    assert [unit["line"] for unit in units] == [2, 3, 5, 6]
    assert {unit["file"] for unit in units} == {str(file)}
    assert units[0]["reason"].startswith("is not JSON")
    assert units[1]["reason"] == "is not a JSON object"
    assert units[2]["reason"].startswith("is of no known format (native, openai-chat, ")
    assert units[3]["reason"].startswith("application: must be 'helpdesk'")
    assert [unit["text"] for unit in units[:3]] == ['{"half', "[1]", '{"a": 1}']
    assert report.reasons.total() == len(units)
    (path,) = report.quarantine_files
    assert path.parent == tmp_path / "quarantine" / "application=helpdesk"


def test_no_personal_data_reaches_the_disk(tmp_path: Path) -> None:
    canary = "anna.schmidt@example.com"
    bad = dict(CHAT, response={"id": canary, "choices": [], "note": f"mail\n{canary}"})
    file = write_lines(
        tmp_path / "a.ndjson",
        an_interaction("r1", prompt=f"I am {canary}", user_id=canary).to_json(),
        b'{"half": "' + canary.encode(),
        json.dumps(bad).encode(),
        json.dumps({"request_id": "r2", "prompt": "x", canary: 1, "time": canary}).encode(),
    )
    home = tmp_path / "home"
    report = ingest_all(home, file, make_scrub=SCRUBBING)
    assert (report.num_accepted, report.num_quarantined) == (1, 3)
    assert not any(b"anna" in content for content in content_of(home).values())
    assert interactions(home)["r1"].prompt == "I am <EMAIL_1>"
    assert "anna" not in report.describe()


def refuse_r2() -> Scrub:
    def scrub(record: Record) -> Record:
        if record.record_id == "r2":
            raise UserError("the model of names is not installed")
        return record

    return scrub


def refuse_r2_later() -> Scrub:
    """Finds something to clean in r2, and fails the next time."""
    asked: list[Record] = []

    def scrub(record: Record) -> Record:
        if record.record_id != "r2":
            return record
        asked.append(record)
        if len(asked) > 1:
            raise UserError("the model of names is not installed")
        return dataclasses.replace(record, prompt="")

    return scrub


@pytest.mark.parametrize("make_scrub", [refuse_r2, refuse_r2_later])
def test_a_record_that_cannot_be_cleaned_is_in_quarantine_without_its_text(
    tmp_path: Path, make_scrub: Callable[[], Scrub]
) -> None:
    lines = [an_interaction(f"r{i}").to_json() for i in "123"]
    file = write_lines(tmp_path / "a.ndjson", *lines)
    report = ingest_all(tmp_path, file, make_scrub=make_scrub)
    assert report.num_accepted == 2
    (unit,) = quarantine(tmp_path)
    reason = "the model of names is not installed"
    assert unit == {"file": str(file), "line": 2, "reason": reason, "text": None}


def test_the_elements_of_an_array_are_units(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([CHAT, {"a": 1}], indent=2))
    report = ingest_all(tmp_path, path)
    assert (report.num_accepted, report.num_quarantined) == (1, 1)
    assert quarantine(tmp_path)[0]["line"] == 2


def test_a_torn_archive_is_one_problem_and_what_came_before_is_kept(tmp_path: Path) -> None:
    lines = [an_interaction(f"r{i}").to_json() for i in range(1000)]
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines))[:-2000])
    report = ingest_all(tmp_path, path)
    assert 0 < report.num_accepted < 1000
    assert report.reasons == {"the archive is truncated": 1}
    (damage,) = report.damages
    assert damage == f"{path}:{report.num_accepted + 1}: the archive is truncated"


def sessions_file(path: Path) -> Path:
    """Write records of some days, every tenth with an e-mail address, in sessions."""
    records = [
        an_interaction(
            f"r{i}",
            time=TIME + timedelta(days=i % 3),
            session_id=f"s{i % 7}",
            prompt=f"mail u{i % 13}@example.com" if i % 10 == 0 else "my card was declined",
        )
        for i in range(5000)
    ]
    return write_lines(path, *(record.to_json() for record in records), b"{half")


def test_several_processes_write_what_one_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sessions_file(tmp_path / "a.ndjson")
    one, several = tmp_path / "one", tmp_path / "several"
    ingest_all(one, file, make_scrub=SCRUBBING)
    monkeypatch.setattr(ingest_module, "_MIN_BYTES_FOR_PROCESSES", 0)
    monkeypatch.setattr(ingest_module.os, "sched_getaffinity", lambda _: {0, 1})
    report = ingest_all(several, file, make_scrub=SCRUBBING)
    assert (report.num_accepted, report.num_quarantined) == (5000, 1)
    assert interactions(one) == interactions(several)
    assert quarantine(one) == quarantine(several)


_SLOW = """
import sys
from functools import partial
from pathlib import Path
from llm_assets.feedback import ingest as module
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
if __name__ == "__main__":
    module._BATCH_BYTES = 100_000
    module._MIN_BYTES_FOR_PROCESSES = 0
    module.ingest(
        [Path(sys.argv[1])],
        application="helpdesk",
        home=Path(sys.argv[2]),
        make_scrub=partial(Scrubbers, {}, bytes(32)),
    )
"""


def test_what_ctrl_c_left_is_completed_by_doing_it_again(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    lines = [an_interaction(f"r{i}", prompt="my card " * 50).to_json() for i in range(40_000)]
    write_lines(file, b"{half", *lines)
    home = tmp_path / "home"
    script = tmp_path / "slow.py"
    script.write_text(_SLOW)
    process = subprocess.Popen(
        [sys.executable, str(script), str(file), str(home)],
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    log = Log.interactions(home).root
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in log.rglob("*.ndjson")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    assert stderr.count(b"Traceback") == 1  # the processes beside it were ended quietly
    left = len(interactions(home))
    assert 0 < left < 40_000
    assert content_of(home / "quarantine") == {}
    report = ingest_all(home, file, make_scrub=SCRUBBING)
    assert (report.num_accepted, report.num_duplicates) == (40_000 - left, left)
    assert len(interactions(home)) == 40_000
    assert len(quarantine(home)) == 1


def test_a_table_holds_each_record_once_whatever_the_order_of_arrival() -> None:
    records = [an_interaction(f"r{i}") for i in range(4)]
    first = interaction_table([*records, records[1]])
    second = interaction_table(records[::-1])
    assert first.equals(second)
    assert first.height == 4


def test_an_empty_log_is_a_table_without_rows() -> None:
    assert interaction_table([]).is_empty()
