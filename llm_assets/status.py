"""What an installation would say of itself: who serves, what was seen, what would start a cycle."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from llm_assets.applications import Application
from llm_assets.bootstrap import prepare_dagster_home
from llm_assets.cycle_requests import open_requests
from llm_assets.deployment.incidents import incidents_of
from llm_assets.deployment.registry import Entry
from llm_assets.drift.triggers.brakes import BUDGET_DAYS
from llm_assets.drift.triggers.causes import Window
from llm_assets.drift.triggers.decision import History, budget
from llm_assets.drift.triggers.run_length import expected_false_starts_per_year
from llm_assets.erasures import Erasures, reaches
from llm_assets.feedback import unassigned
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.serving.status import ServingStatus
from llm_assets.settings import Settings
from llm_assets.storage import Partition

_SHOWN_DAYS = 5
_SHOWN_IDS = 5
_SHOWN_INCIDENTS = 3


def gather(settings: Settings) -> dict[str, Any]:
    """Return the status of every application as plain values."""
    # Dagster takes a second to import, which the other commands need not wait for.
    import dagster as dg

    from llm_assets.sensors.cycle import cycles_of, decide_for

    installation = Installation(settings)
    applications, now = installation.applications(), datetime.now(UTC)
    erasures = Erasures.of(settings.home).all()
    serving = ServingStatus.read(settings.home)
    prepare_dagster_home(settings)
    described: dict[str, Any] = {}
    with dg.DagsterInstance.get() as instance:
        for name, application in applications.items():
            decision = decide_for(application, installation=installation, instance=instance)
            history = History(application=name, cycles=cycles_of(name, instance))
            hours = budget(history, triggers=application.triggers, now=now)
            entry, endpoint = installation.registry.entry(name), serving.applications.get(name)
            described[name] = {
                "champion": entry.champion,
                "versions": list(entry.versions),
                "is_served_here": application.serving is not None,
                "is_serving": serving.is_live and endpoint is not None and endpoint.ready,
                "num_days": len(installation.table("interaction_logs").dates(name)),
                "rollout": _rollout(entry),
                "incidents": [
                    f"{incident.model_version} was rolled back in {incident.step} on "
                    f"{incident.opened_at:%Y-%m-%d}: {incident.reason}"
                    for incident in incidents_of(settings.home, name)[-_SHOWN_INCIDENTS:]
                ],
                "drift": _drift(application, installation),
                "orphans": _shown_ids(installation.orphans(name, now=now)["feedback_id"].to_list()),
                "erased_data": [
                    {**asdict(reach), "last_erased": f"{reach.last_erased}", "summary": str(reach)}
                    for reach in reaches(erasures, champions=[entry.champion or ""])
                    if application_of(reach.model_version) == name
                ],
                "budget": asdict(hours),
                "false_starts_per_year": expected_false_starts_per_year(application.drift),
                "requests": [
                    {"request": request.request_id, "because": request.because}
                    for request in open_requests(settings.home, name)
                ],
                "would_start": decision.should_start,
                "cause": decision.cause,
                "brake": decision.brake,
                "reason": decision.reason,
            }
    return {
        "home": str(settings.home),
        "endpoint": f"{settings.endpoint_url}/v1",
        "ui": settings.ui_url,
        "is_running": serving.is_live,
        "applications": described,
        "interrupted_erasures": sum(erasure.finished_at is None for erasure in erasures),
        "unassigned_feedback": _shown_ids(
            [feedback.feedback_id for feedback in unassigned.read(settings.home)]
        ),
    }


def describe(status: dict[str, Any]) -> str:
    """Return a status in a few lines for people."""
    lines = [
        f"home      {status['home']}",
        f"endpoint  {status['endpoint']}" + ("" if status["is_running"] else " (not running)"),
        f"UI        {status['ui']}",
    ]
    for name, application in status["applications"].items():
        serves = "serves" if application["is_serving"] else "does not serve"
        if not application["is_served_here"]:
            serves = "served elsewhere"
        versions = ", ".join(application["versions"]) or "none"
        lines += [
            "",
            f"{name}: champion {application['champion'] or 'none'} ({serves})",
            f"  versions: {versions}",
            *_told_rollout(application["rollout"]),
            *(f"  incident: {incident}" for incident in application["incidents"]),
            f"  {application['num_days']} days of interactions",
            *_orphans(application["orphans"]),
            *(f"  {reach['summary']}" for reach in application["erased_data"]),
            *(f"  drift {day['date']}: {day['summary']}" for day in application["drift"]),
            *(f"  requested: {request['because']}" for request in application["requests"]),
            *_budget(application["budget"]),
            f"  by chance drift starts {application['false_starts_per_year']:.2g} cycles a year",
            f"  {'a cycle starts' if application['would_start'] else 'no cycle'}: "
            f"{application['reason']}",
        ]
    if status["interrupted_erasures"]:
        lines += ["", "an erasure was interrupted: `llm-assets erase` the same user again"]
    num_unassigned = status["unassigned_feedback"]["num"]
    if num_unassigned:
        lines += ["", f"{num_unassigned} feedback of requests that no application knows"]
    return "\n".join(lines)


def _rollout(entry: Entry) -> dict[str, Any] | None:
    rollout = entry.rollout
    if rollout is None:
        return None
    return {
        "challenger": rollout.challenger,
        "step": str(rollout.step),
        "since": rollout.since.isoformat(),
        "is_holding": rollout.holding_since is not None,
        "has_alerted": rollout.has_alerted,
        "holds_because": _why_it_holds(entry) if rollout.holding_since else None,
    }


def _why_it_holds(entry: Entry) -> str:
    return next(t.reason for t in reversed(entry.history) if t.action in ("hold", "alert"))


def _told_rollout(rollout: dict[str, Any] | None) -> list[str]:
    if rollout is None:
        return []
    state = "ALERT: holds" if rollout["has_alerted"] else "holds"
    told = f", {state}: {rollout['holds_because']}" if rollout["is_holding"] else ""
    return [f"  rollout of {rollout['challenger']}: in {rollout['step']}{told}"]


def _shown_ids(ids: list[str]) -> dict[str, Any]:
    return {"num": len(ids), "ids": ids[:_SHOWN_IDS]}


def _orphans(orphans: dict[str, Any]) -> list[str]:
    return [f"  {orphans['num']} feedback whose request never came"] if orphans["num"] else []


def _budget(hours: dict[str, Any]) -> list[str]:
    if hours["max_hours"] is None:
        return []
    return [
        f"  {hours['used_hours']:.3g} of {hours['max_hours']:g} GPU hours used in {BUDGET_DAYS} "
        f"days, a cycle takes about {hours['expected_hours']:.3g}"
    ]


def _drift(application: Application, installation: Installation) -> list[dict[str, Any]]:
    table = installation.table("drift_scores")
    days = []
    for day in table.dates(application.name)[-_SHOWN_DAYS:]:
        scores = table.read(Partition(application=application.name, date=day))
        if scores is not None:
            window = Window.from_scores(day, scores.to_dicts())
            days.append(
                {
                    "date": day.isoformat(),
                    "is_drifted": window.is_drifted,
                    "summary": window.summary,
                }
            )
    return days
