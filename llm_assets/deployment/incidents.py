"""A rolled-back version opens an incident, and its failures become golden samples.

    incidents/<application>/<rollout>.json

A golden sample is named by its request's id, so no text of users lies here. Curation holds such
requests out of training for good: every later candidate is asked them before it is deployed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.deployment.decision import Decision
from llm_assets.deployment.registry import Rollout
from llm_assets.json_file import read_json, write_json

# More would take what the next version should learn.
_MAX_GOLDEN = 50


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Incident:
    """One roll-back: which version, in which step, why, and the requests that spoke against it."""

    incident_id: str
    application: str
    model_version: str
    step: str
    opened_at: datetime
    reason: str
    golden_request_ids: tuple[str, ...] = ()
    num_failures: int = 0


def open_incident(
    home: Path,
    application: str,
    rollout: Rollout,
    *,
    decision: Decision,
    failures: Sequence[str],
    now: datetime,
) -> Incident:
    """Write the record of a roll-back; writing it again replaces it.

    `failures` are the requests that spoke against the version, the most telling first.
    """
    incident = Incident(
        incident_id=rollout.rollout_id,
        application=application,
        model_version=rollout.challenger,
        step=str(rollout.step),
        opened_at=now,
        reason=decision.reason,
        golden_request_ids=tuple(failures[:_MAX_GOLDEN]),
        num_failures=len(failures),
    )
    write_json(_folder(home, application) / f"{rollout.rollout_id}.json", incident)
    return incident


def withdraw_incident(home: Path, application: str, rollout: Rollout) -> None:
    """Remove what was written of a roll-back that did not happen: its writer was killed."""
    (_folder(home, application) / f"{rollout.rollout_id}.json").unlink(missing_ok=True)


def incidents_of(home: Path, application: str) -> list[Incident]:
    """Return the incidents of an application, oldest first."""
    found: Iterable[Path] = _folder(home, application).glob("*.json")
    incidents = [read_json(path, Incident) for path in found]
    return sorted(incidents, key=lambda incident: incident.opened_at)


def golden_request_ids(home: Path, application: str) -> frozenset[str]:
    """Return the requests that no version is trained on."""
    incidents = incidents_of(home, application)
    return frozenset(key for incident in incidents for key in incident.golden_request_ids)


def _folder(home: Path, application: str) -> Path:
    return home / "incidents" / application
