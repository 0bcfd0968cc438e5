"""How a rollout goes, for people and as plain values."""

from typing import Any

from llm_assets.deployment.guardrails import State
from llm_assets.deployment.incidents import incidents_of
from llm_assets.deployment.registry import Rollout
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.rollouts.kept import LATEST, read_kept
from llm_assets.serving.status import ServingStatus

_SHOWN = 12


def gather(installation: Installation, application: str) -> dict[str, Any]:
    """Return the state of an application's rollout and its last transitions.

    Raises:
        UserError: there is no such application.
    """
    installation.application(application)
    entry = installation.registry.entry(application)
    rollout = entry.rollout
    trial = ServingStatus.read(installation.home).challenger_of(application)
    last = [t for t in entry.history if t.action != "register"][-_SHOWN:]
    return {
        "application": application,
        "champion": entry.champion,
        "challenger": rollout.challenger if rollout else None,
        "step": str(rollout.step) if rollout else None,
        "steps": [str(step) for step in rollout.steps] if rollout else [],
        "since": rollout.since.isoformat() if rollout else None,
        "is_holding": bool(rollout and rollout.holding_since),
        "is_followed": bool(rollout and trial and trial.ready and trial.follows(entry.split)),
        "problem": trial.error if rollout and trial else None,
        "latest": _latest(installation, application, rollout) if rollout else None,
        "rolled_back": entry.rolled_back,
        "incidents": [
            {
                "model_version": incident.model_version,
                "step": incident.step,
                "opened_at": incident.opened_at.isoformat(),
                "reason": incident.reason,
                "num_golden": len(incident.golden_request_ids),
            }
            for incident in incidents_of(installation.home, application)
        ],
        "transitions": [
            {
                "time": transition.time.isoformat(),
                "action": transition.action,
                "model_version": transition.model_version,
                "step": str(transition.step) if transition.step else None,
                "reason": transition.reason,
                "evidence": _kept(installation, application, transition.evidence),
            }
            for transition in last
        ],
    }


def describe(shown: dict[str, Any]) -> str:
    """Return it in a few lines."""
    lines = [f"{shown['application']}: champion {shown['champion'] or 'none'}"]
    if shown["challenger"]:
        state = "holds" if shown["is_holding"] else "goes on"
        told = "" if shown["is_followed"] else "; the gateway does not follow yet"
        told += f": {shown['problem']}" if shown["problem"] else ""
        lines += [
            f"  challenger {shown['challenger']} in {shown['step']} ({state}) since "
            f"{shown['since'][:19]}{told}",
            f"  steps: {' → '.join(shown['steps'])}",
            *_look_of(shown["latest"]),
        ]
    else:
        lines.append("  no rollout runs")
    lines += [
        f"  {step['time'][:19]}  {step['action']:<9} {step['model_version']}"
        f"{'  ' + step['step'] if step['step'] else ''}  {step['reason']}"
        for step in shown["transitions"]
    ]
    lines += [
        f"  incident: {incident['model_version']} rolled back in {incident['step']}: "
        f"{incident['reason']}"
        for incident in shown["incidents"]
    ]
    return "\n".join(lines)


def _look_of(latest: dict[str, Any] | None) -> list[str]:
    if latest is None:
        return []
    findings = [f["told"] for f in latest["findings"] if f["state"] != State.UNMEASURED]
    return [
        f"  looked at {latest['until'][:19]}: {latest['reason']}",
        *(f"    {told}" for told in findings),
    ]


def _latest(
    installation: Installation, application: str, rollout: Rollout
) -> dict[str, Any] | None:
    """Return what the last look at the present step saw."""
    latest = _kept(installation, application, LATEST)
    step = (rollout.rollout_id, str(rollout.step))
    if latest is None or (latest["rollout_id"], latest["step"]) != step:
        return None
    return latest


def _kept(installation: Installation, application: str, name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    try:
        return read_kept(installation.home, application, name)
    except UserError:
        return None
