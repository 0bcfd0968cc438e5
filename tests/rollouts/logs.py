"""What the real parts would log of a rollout: tries of the gateway, answers, and feedback."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from llm_assets.feedback.log import Log, LogWriter, Record
from llm_assets.records import SHADOW_VARIANT, Feedback, FeedbackKind, Interaction
from llm_assets.serving.attempts import ATTEMPTS, Attempt
from tests.installations import CANDIDATE, VERSION
from tests.records import an_interaction

MODEL_VERSIONS = {"champion": VERSION, "challenger": CANDIDATE, SHADOW_VARIANT: CANDIDATE}


def an_attempt(request_id: str, variant: str, time: datetime, **fields: Any) -> Attempt:
    """Return a first try that the arm's own server answered."""
    given = {
        "time": time,
        "request_id": request_id,
        "application": "helpdesk",
        "variant": variant,
        "trial": None,
        "model_version": MODEL_VERSIONS[variant],
        "attempt": 1,
        "status": 200,
        "is_failure": False,
        "seconds": 0.5,
    }
    return Attempt(**{**given, **fields})


def an_answer(request_id: str, variant: str, time: datetime, **fields: Any) -> Interaction:
    """Return the answer of an arm's own server."""
    given = {
        "variant": variant,
        "model_version": MODEL_VERSIONS[variant],
        "time": time,
        "latency_seconds": 0.5,
        "first_token_seconds": 0.1,
        "num_response_tokens": 5,
    }
    return an_interaction(request_id, **{**given, **fields})


def a_signal(
    feedback_id: str, request_id: str | None, kind: FeedbackKind, time: datetime, **fields: Any
) -> Feedback:
    """Return feedback; a correction wants `money`."""
    if kind is FeedbackKind.CORRECTION:
        fields = {"text": "money", **fields}
    return Feedback(
        feedback_id=feedback_id,
        request_id=request_id,
        application="helpdesk",
        time=time,
        kind=kind,
        **fields,
    )


def line_of(attempt: Attempt) -> bytes:
    """Return the line that Envoy writes of a try."""
    cluster = "api"
    if attempt.model_version is not None:
        cluster = f"{attempt.variant}/{attempt.model_version}/4711"
    entry = {
        "time": attempt.time.isoformat(),
        "request_id": attempt.request_id,
        "application": None if attempt.variant == SHADOW_VARIANT else attempt.application,
        "variant": attempt.variant,
        "trial": attempt.trial,
        "cluster": cluster,
        "attempt": str(attempt.attempt),
        "status": 500 if attempt.is_failure else attempt.status,
        "flags": "-",
        "rate_limited": None,
        "milliseconds": 1000 * attempt.seconds,
        "milliseconds_allowed": None,
    }
    return json.dumps(entry).encode() + b"\n"


@dataclass
class Logs:
    """Writes the logs of an installation's home."""

    home: Path
    _writers: dict[str, LogWriter] = field(init=False)

    def __post_init__(self) -> None:
        logs = {
            "answers": Log.interactions(self.home),
            "shadows": Log.shadows(self.home),
            "feedback": Log.feedback(self.home),
        }
        self._writers = {name: LogWriter(log, lambda record: record) for name, log in logs.items()}

    def write(self, *entries: Attempt | Record) -> None:
        """Write entries to the logs that they belong in."""
        attempts = [entry for entry in entries if isinstance(entry, Attempt)]
        path = self.home / "gateway" / ATTEMPTS
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.writelines(map(line_of, attempts))
        records = [entry for entry in entries if not isinstance(entry, Attempt)]
        for name, writer in self._writers.items():
            writer.append([record for record in records if _log_of(record) == name])


def _log_of(record: Record) -> str:
    if isinstance(record, Feedback):
        return "feedback"
    return "shadows" if record.variant == SHADOW_VARIANT else "answers"


def asked(
    number: int, variant: str, time: datetime, *, is_copied: bool = False, **answer: Any
) -> Sequence[Attempt | Record]:
    """Return what is logged of one request of a user of its own, and of its copy."""
    key, time = f"{variant}-{time:%H%M%S}-{number}", time + timedelta(milliseconds=number)
    fields = {"user_id": f"user-{key}", "prompt": f"question {number}", **answer}
    entries: list[Attempt | Record] = [
        an_attempt(key, variant, time),
        an_answer(key, variant, time, **fields),
    ]
    if is_copied:
        entries += [
            an_attempt(key, SHADOW_VARIANT, time),
            an_answer(key, SHADOW_VARIANT, time, **fields),
        ]
    return entries
