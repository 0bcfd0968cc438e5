"""What decided a transition, as it is kept: numbers and ids, no text of users.

    rollouts/<application>/<name>.json

It is written before the transition that names it, so a transition never points to nothing. Between
two transitions `latest.json` is what the last look saw.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from llm_assets.deployment.decision import Decision
from llm_assets.deployment.evidence import ArmEvidence, Evidence, Rate, SliceEvidence
from llm_assets.deployment.guardrails import percentile_95
from llm_assets.deployment.registry import Rollout
from llm_assets.errors import UserError
from llm_assets.storage import write_json_atomically

LATEST = "latest"

_MAX_IDS = 100


def keep(
    home: Path,
    application: str,
    rollout: Rollout,
    *,
    decision: Decision,
    evidence: Evidence,
    now: datetime,
    slices: tuple[SliceEvidence, ...] = (),
    failures: Sequence[str] = (),
) -> str:
    """Write what decided, or what a look saw, and return the name under which it is found again."""
    is_transition = decision.move != "stay"
    name = f"{rollout.rollout_id}-{rollout.position}-{decision.move}" if is_transition else LATEST
    content = {
        "application": application,
        "rollout_id": rollout.rollout_id,
        "model_version": rollout.challenger,
        "step": str(rollout.step),
        "stage": rollout.step.stage,
        "since": rollout.since.isoformat(),
        "until": now.isoformat(),
        "move": decision.move,
        "reason": decision.reason,
        "findings": [asdict(found) | {"told": str(found)} for found in decision.findings],
        "effect": _effect(decision),
        "champion": _arm(evidence.champion),
        "challenger": _arm(evidence.challenger),
        "num_pairs": evidence.num_pairs,
        "judged": _rate(evidence.judged),
        "num_restarts": evidence.num_restarts,
        "slices": [
            {"name": s.name, "champion": _rate(s.champion), "challenger": _rate(s.challenger)}
            for s in slices
        ],
        "num_failures": len(failures),
        "failures": failures[:_MAX_IDS],
    }
    write_json_atomically(home / "rollouts" / application / f"{name}.json", _finite(content))
    return name


def read_kept(home: Path, application: str, name: str) -> dict[str, Any]:
    """Return what decided a transition.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = home / "rollouts" / application / f"{name}.json"
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError:
        raise UserError(f"{path}: is not JSON") from None


def _effect(decision: Decision) -> dict[str, Any] | None:
    effect = decision.effect
    if effect is None:
        return None
    return {
        "metric": effect.metric,
        "champion": _rate(effect.champion),
        "challenger": _rate(effect.challenger),
        "value": effect.value,
        "low": effect.interval.low,
        "high": effect.interval.high,
        "margin": effect.margin,
        "has_mismatch": effect.has_mismatch,
    }


def _arm(arm: ArmEvidence) -> dict[str, Any]:
    return {
        "failures": _rate(arm.failures),
        "fallbacks": arm.fallbacks,
        "refusals": _rate(arm.refusals),
        "negative": _rate(arm.negative),
        "metric": _rate(arm.metric),
        "num_users": arm.num_users,
        "num_answers": len(arm.seconds),
        "p95_seconds": percentile_95(arm.seconds),
        "p95_first_token_seconds": percentile_95(arm.first_token_seconds),
        "mean_response_tokens": arm.num_response_tokens.mean,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {"mean": rate.mean, "total": rate.total, "n": rate.n}


def _finite(value: Any) -> Any:
    """Return a value without nan and infinity, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
