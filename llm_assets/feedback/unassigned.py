"""Feedback whose application is not known yet, because its request has not arrived.

It lies in a log of its own, under an application that no file can describe, until the collector
sees the request and moves it. What is moved is written under its application first and removed
here after; a crash in between leaves it in both places, and the next start ends the move.
"""

from collections.abc import Collection
from pathlib import Path

from llm_assets.feedback.log import Log
from llm_assets.records import Feedback

APPLICATION = "unassigned"
MAX_UNASSIGNED = 10_000


def unassigned_log(home: Path) -> Log:
    """Return the log that unassigned feedback lies in."""
    return Log(home / "log" / "unassigned", Feedback)


def read(home: Path) -> list[Feedback]:
    """Return the feedback that waits for its request, oldest first; its age counts from `time`."""
    log = unassigned_log(home)
    records = [record for partition in log.partitions() for record in log.read(partition)[0]]
    waiting = {r.feedback_id: r for r in records if isinstance(r, Feedback)}
    return sorted(waiting.values(), key=lambda feedback: feedback.time)


def remove(home: Path, feedback_ids: Collection[str]) -> None:
    """Remove feedback that was moved."""
    unassigned_log(home).rewrite(lambda record: record.record_id not in feedback_ids)
