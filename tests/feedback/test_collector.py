import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback import collector as collector_module
from llm_assets.feedback import log as log_module
from llm_assets.feedback import unassigned
from llm_assets.feedback.collector import Accepted, BusyError, Collector
from llm_assets.feedback.log import Log, LogWriter, Record
from llm_assets.records import SHADOW_VARIANT, Feedback, Interaction
from llm_assets.storage import Partition
from tests.records import TIME, a_correction, an_interaction

DAY = Partition(application="helpdesk", date=date(2026, 3, 1))


class Cleaning:
    """Plays the scrubbers: an id with an @ gets a pseudonym, and some texts cannot be cleaned."""

    def __call__(self, record: Record) -> Record:
        if getattr(record, "prompt", None) == "unclean":
            raise UserError("prompt: could not be cleaned of personal data")
        if isinstance(record, Feedback):
            if record.text == "unclean" and record.application != unassigned.APPLICATION:
                raise UserError("text: could not be cleaned of personal data")
            ids = {"feedback_id": self.pseudonym(record.feedback_id)}
            if record.request_id is not None:
                ids["request_id"] = self.pseudonym(record.request_id)
            return replace(record, **ids)
        aliases = [self.pseudonym(alias) for alias in record.aliases]
        return replace(record, request_id=self.pseudonym(record.request_id), aliases=aliases)

    def pseudonym(self, value: str) -> str:
        return f"id-{len(value)}" if "@" in value else value


def early(feedback_id: str, request_id: str, **fields: Any) -> Feedback:
    """Return feedback whose application is not known."""
    feedback = a_correction(feedback_id, request_id, "money")
    return replace(feedback, **{"application": unassigned.APPLICATION, **fields})


def a_shadow(request_id: str, **fields: Any) -> Interaction:
    """Return a challenger's answer that no user saw."""
    return an_interaction(request_id, variant=SHADOW_VARIANT, **fields)


def collect(home: Path, *batches: Sequence[Record]) -> list[Any]:
    """Start a collector, submit the batches at the same time, and return what became of each."""

    async def session() -> list[Any]:
        collector = Collector(home, Cleaning())
        collector.load()
        running = asyncio.create_task(collector.run())
        outcomes = await asyncio.gather(
            *(collector.submit(batch) for batch in batches), return_exceptions=True
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return outcomes

    return asyncio.run(session())


def ids(log: Log) -> list[str]:
    return [record.record_id for day in log.partitions() for record in log.read(day)[0]]


def of_applications(home: Path) -> list[tuple[str, str]]:
    log = Log.feedback(home)
    return [
        (record.record_id, record.application)
        for day in log.partitions()
        for record in log.read(day)[0]
    ]


def test_a_group_is_written_in_its_order_and_each_caller_hears_of_its_own(tmp_path: Path) -> None:
    outcomes = collect(
        tmp_path,
        [an_interaction("r1"), an_interaction("r2"), an_interaction("r2")],
        [an_interaction("r2"), an_interaction("r3"), a_correction("r1", "r1", "money")],
    )
    assert outcomes == [Accepted(2, 1), Accepted(2, 1)]
    assert ids(Log.interactions(tmp_path)) == ["r1", "r2", "r3"]
    assert ids(Log.feedback(tmp_path)) == ["r1"]


def test_what_the_log_holds_is_known_after_a_restart(tmp_path: Path) -> None:
    writer = LogWriter(Log.interactions(tmp_path), lambda record: record)
    writer.append([an_interaction("r1", aliases=["trace-1"]), an_interaction("r2")])
    (segment,) = Log.interactions(tmp_path).segments(DAY)
    with segment.open("ab") as file:
        file.write(b'{"request_id": 7}\n\xff\n{"request_id": "torn"')
    assert collect(tmp_path, [an_interaction("r1"), an_interaction("torn")]) == [Accepted(1, 1)]
    collector = Collector(tmp_path, Cleaning())
    collector.load()
    known = ("r2", "trace-1", "torn", "r9")
    assert [collector.application_of(i) for i in known] == [
        "helpdesk",
        "helpdesk",
        "helpdesk",
        None,
    ]


def test_an_id_is_known_as_the_log_stores_it(tmp_path: Path) -> None:
    interaction = an_interaction("r@example.com", aliases=["trace@example.com"])
    assert collect(tmp_path, [interaction], [interaction]) == [Accepted(1, 0), Accepted(0, 1)]
    assert collect(tmp_path, [interaction]) == [Accepted(0, 1)]
    assert ids(Log.interactions(tmp_path)) == ["id-13"]
    collector = Collector(tmp_path, Cleaning())
    collector.load()
    assert collector.application_of("r@example.com") == "helpdesk"
    assert collector.application_of("trace@example.com") == "helpdesk"


def test_an_alias_is_no_request_of_its_own(tmp_path: Path) -> None:
    first = an_interaction("r1", aliases=["r2"])
    assert collect(tmp_path, [first, an_interaction("r2")]) == [Accepted(2, 0)]


def test_a_shadows_answers_lie_in_a_log_of_their_own_each_once(tmp_path: Path) -> None:
    records = [a_shadow("r1"), an_interaction("r1"), a_shadow("r@example.com"), a_shadow("r1")]
    assert collect(tmp_path, records) == [Accepted(3, 1)]
    assert ids(Log.interactions(tmp_path)) == ["r1"]
    assert ids(Log.shadows(tmp_path)) == ["r1#shadow", "id-13#shadow"]
    assert collect(tmp_path, records) == [Accepted(0, 4)]
    # Who asked for an id like theirs is none of them.
    assert collect(tmp_path, [an_interaction("r1#shadow")]) == [Accepted(1, 0)]


def test_feedback_finds_what_a_user_saw_and_no_shadow(tmp_path: Path) -> None:
    shadow = a_shadow("r1", application="bank", aliases=["trace-1"])
    collect(tmp_path, [early("f1", "r1"), early("f2", "trace-1")], [shadow])
    assert of_applications(tmp_path) == []
    collector = Collector(tmp_path, Cleaning())
    collector.load()
    names = ("r1", "r1#shadow", "trace-1")
    assert [collector.application_of(name) for name in names] == [None, None, None]
    collect(tmp_path, [an_interaction("r1", aliases=["trace-1"])])
    assert of_applications(tmp_path) == [("f1", "helpdesk"), ("f2", "helpdesk")]


def test_a_shadows_log_that_the_disk_refuses_spoils_nothing_that_users_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module.os, "fsync", fsync_that_refuses("log/shadows"))
    refused, accepted = collect(tmp_path, [a_shadow("r1")], [an_interaction("r1")])
    assert isinstance(refused, OSError)
    assert accepted == Accepted(1, 0)
    monkeypatch.undo()
    assert collect(tmp_path, [a_shadow("r1")]) == [Accepted(1, 0)]


def test_a_record_that_cannot_be_cleaned_spoils_no_other(tmp_path: Path) -> None:
    outcomes = collect(
        tmp_path,
        [an_interaction("r1")],
        [an_interaction("r2", prompt="unclean")],
        [an_interaction("r3")],
    )
    assert [outcomes[0], outcomes[2]] == [Accepted(1, 0), Accepted(1, 0)]
    assert str(outcomes[1]) == "prompt: could not be cleaned of personal data"
    assert ids(Log.interactions(tmp_path)) == ["r1", "r3"]
    assert collect(tmp_path, [an_interaction("r2")]) == [Accepted(1, 0)]


def test_a_mistake_of_ours_fails_those_who_wait_and_nobody_after(tmp_path: Path) -> None:
    def counts(record: Record) -> None:
        if record.record_id == "r1":
            raise RuntimeError

    async def session() -> list[Any]:
        collector = Collector(tmp_path, Cleaning(), on_accepted=counts)
        running = asyncio.create_task(collector.run())
        with pytest.raises(RuntimeError):
            await collector.submit([an_interaction("r1")])
        accepted = await collector.submit([an_interaction("r1"), an_interaction("r2")])
        running.cancel()
        return [accepted]

    assert asyncio.run(session()) == [Accepted(1, 1)]


def test_of_a_group_only_the_day_that_was_refused_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = an_interaction("r1"), an_interaction("r2", time=TIME.replace(day=2))
    monkeypatch.setattr(log_module.os, "fsync", fsync_that_refuses("date=2026-03-02"))
    (refused,) = collect(tmp_path, [first, second])
    assert isinstance(refused, OSError)
    monkeypatch.undo()
    assert collect(tmp_path, [first, second]) == [Accepted(1, 1)]
    assert ids(Log.interactions(tmp_path)) == ["r1", "r2"]


def fsync_that_refuses(part: str) -> Any:
    """Return an fsync that finds no space for files with this part in their path."""
    fsync = os.fsync

    def refusing(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if part in str(path) and path.suffix == ".ndjson":
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    return refusing


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_keeps_what_was_acknowledged_and_nothing_else(small_disk: Path) -> None:
    accepted: list[str] = []
    for number in range(100):
        record = an_interaction(f"r{number}", response="x" * 10_000)
        (outcome,) = collect(small_disk, [record])
        if isinstance(outcome, OSError):
            assert outcome.errno == errno.ENOSPC
            break
        accepted.append(record.request_id)
    assert 5 < len(accepted) < 30
    log = Log.interactions(small_disk)
    assert sorted(ids(log)) == sorted(accepted)
    assert [log.read(day)[1] for day in log.partitions()] == [[]]
    log.rewrite(lambda record: record.record_id != accepted[0])
    refused = an_interaction(f"r{len(accepted)}", response="x" * 5000)
    assert collect(small_disk, [refused]) == [Accepted(1, 0)]


def test_beyond_the_waiting_records_it_is_busy_and_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_module, "MAX_WAITING_RECORDS", 3)
    batches = [[an_interaction(f"{batch}-{number}") for number in range(2)] for batch in range(3)]
    first, *others = collect(tmp_path, *batches)
    assert first == Accepted(2, 0)
    for busy in others:
        assert isinstance(busy, BusyError)
        assert busy.retry_after_seconds >= 1
    assert ids(Log.interactions(tmp_path)) == ["0-0", "0-1"]
    # One that is over the limit by itself could never come in.
    large = [an_interaction(f"large-{number}") for number in range(5)]
    assert collect(tmp_path, large) == [Accepted(5, 0)]


def test_feedback_that_comes_before_its_request_is_moved_when_it_arrives(tmp_path: Path) -> None:
    assert collect(tmp_path, [early("f1", "r1"), early("f2", "trace-2")]) == [Accepted(2, 0)]
    assert of_applications(tmp_path) == []
    assert [feedback.feedback_id for feedback in unassigned.read(tmp_path)] == ["f1", "f2"]
    assert collect(tmp_path, [early("f1", "r1")]) == [Accepted(0, 1)]
    collect(tmp_path, [an_interaction("r1", application="bank")])
    assert of_applications(tmp_path) == [("f1", "bank")]
    collect(tmp_path, [an_interaction("r2", aliases=["trace-2"])])
    assert of_applications(tmp_path) == [("f1", "bank"), ("f2", "helpdesk")]
    assert unassigned.read(tmp_path) == []
    assert collect(tmp_path, [early("f1", "r1"), early("f2", "x")]) == [Accepted(0, 2)]


def test_feedback_and_request_of_one_group_find_each_other(tmp_path: Path) -> None:
    collect(tmp_path, [early("f1", "r1")], [an_interaction("r1")])
    assert of_applications(tmp_path) == [("f1", "helpdesk")]
    assert unassigned.unassigned_log(tmp_path).partitions() == []


def test_within_one_life_feedback_is_moved_as_well(tmp_path: Path) -> None:
    async def session() -> None:
        collector = Collector(tmp_path, Cleaning())
        running = asyncio.create_task(collector.run())
        await collector.submit([early("f1", "r@1"), early("f2", "r@1"), early("f3", "r2")])
        await collector.submit([an_interaction("r@1")])
        running.cancel()

    asyncio.run(session())
    assert of_applications(tmp_path) == [("f1", "helpdesk"), ("f2", "helpdesk")]
    assert [feedback.feedback_id for feedback in unassigned.read(tmp_path)] == ["f3"]


def test_a_move_that_a_crash_interrupted_is_ended_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(tmp_path, [early("f1", "r1")])
    # The process ends after the feedback was written and before it was removed.
    monkeypatch.setattr(unassigned, "remove", lambda *_: None)
    collect(tmp_path, [an_interaction("r1")])
    monkeypatch.undo()
    assert [feedback.feedback_id for feedback in unassigned.read(tmp_path)] == ["f1"]
    collect(tmp_path, [])
    assert unassigned.read(tmp_path) == []
    assert of_applications(tmp_path) == [("f1", "helpdesk")]


def test_a_request_that_arrived_by_another_way_is_found_at_start(tmp_path: Path) -> None:
    collect(tmp_path, [early("f1", "r1")])
    writer = LogWriter(Log.interactions(tmp_path), lambda record: record)
    writer.append([an_interaction("r1", application="bank")])
    collect(tmp_path, [])
    assert of_applications(tmp_path) == [("f1", "bank")]
    assert unassigned.read(tmp_path) == []


def test_feedback_that_the_disk_refused_to_move_is_moved_with_the_next_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def session() -> None:
        collector = Collector(tmp_path, Cleaning())
        running = asyncio.create_task(collector.run())
        await collector.submit([early("f1", "r1")])
        monkeypatch.setattr(log_module.os, "fsync", fsync_that_refuses("log/feedback"))
        assert await collector.submit([an_interaction("r1")]) == Accepted(1, 0)
        monkeypatch.undo()
        assert of_applications(tmp_path) == []
        await collector.submit([an_interaction("r2")])
        running.cancel()

    asyncio.run(session())
    assert of_applications(tmp_path) == [("f1", "helpdesk")]
    assert unassigned.read(tmp_path) == []


def test_feedback_that_its_application_cannot_clean_stays_where_it_is(tmp_path: Path) -> None:
    unclean = early("f1", "r1", text="unclean")
    collect(tmp_path, [unclean, early("f2", "r1")])
    assert collect(tmp_path, [an_interaction("r1")]) == [Accepted(1, 0)]
    assert of_applications(tmp_path) == [("f2", "helpdesk")]
    assert [feedback.feedback_id for feedback in unassigned.read(tmp_path)] == ["f1"]


def test_only_so_much_feedback_may_wait_for_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unassigned, "MAX_UNASSIGNED", 2)
    many = [early(f"f{number}", "r1") for number in range(3)]
    (refused,) = collect(tmp_path, many)
    assert str(refused).startswith("application: must be given, because too much feedback (2)")
    assert len(unassigned.read(tmp_path)) == 2
    (refused,) = collect(tmp_path, [early("f3", "r1")])
    assert isinstance(refused, UserError)
    known = early("f4", "r9", application="helpdesk")
    assert collect(tmp_path, [an_interaction("r1")], [known]) == [Accepted(1, 0), Accepted(1, 0)]
    assert collect(tmp_path, [early("f5", "r7")]) == [Accepted(1, 0)]
