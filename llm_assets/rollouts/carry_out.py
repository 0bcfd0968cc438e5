"""A decision becomes the registry's state, whoever made it: evidence, or a person."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from llm_assets.deployment.decision import Decision
from llm_assets.deployment.incidents import open_incident, withdraw_incident
from llm_assets.deployment.registry import Rollout
from llm_assets.installation import Installation


def carry_out(
    installation: Installation,
    application: str,
    rollout: Rollout,
    decision: Decision,
    *,
    now: datetime,
    failures: Sequence[str] = (),
    evidence: str | None = None,
) -> bool:
    """Move a rollout as was decided; return whether it was still as it was when that was decided.

    `failures` are the requests that spoke against the challenger, the most telling first, and
    `evidence` names what was kept of all that did.
    """
    home, move = installation.home, decision.move
    assert move != "stay"

    def prepare() -> None:
        # Before the transition, so that no rolled-back version is without its incident.
        if move == "reject":
            open_incident(home, application, rollout, decision=decision, failures=failures, now=now)
        elif move == "promote":
            withdraw_incident(home, application, rollout)

    return installation.registry.move(
        application,
        rollout,
        _after(rollout, decision, now),
        action=move,
        time=now,
        reason=decision.reason,
        evidence=evidence,
        prepare=prepare,
    )


def _after(rollout: Rollout, decision: Decision, now: datetime) -> Rollout | None:
    match decision.move:
        case "advance":
            return rollout.at_next_step(now)
        case "hold":
            return replace(rollout, holding_since=now)
        case "alert":
            return replace(rollout, has_alerted=True)
        case _:
            return None
