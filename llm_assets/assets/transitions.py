"""A transition of a rollout as Dagster shows it: numbers, a table, and a picture.

Belongs here: the metadata of `deployed_endpoint`, for the run that starts a rollout and for the
sensor that tells what became of it.
"""

from typing import Any

import dagster as dg

from llm_assets.assets.pictures import picture
from llm_assets.deployment.plot import plot_intervals
from llm_assets.deployment.registry import Transition, champions_in
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.rollouts.kept import read_kept


def transition_metadata(
    installation: Installation, application: str, number: int, transition: Transition
) -> dict[str, Any]:
    """Return the metadata of one line of an application's history."""
    standing = champions_in(installation.registry.history(application)[: number + 1])
    metadata: dict[str, Any] = {
        "transition": number,
        "action": transition.action,
        "model_version": transition.model_version,
        "champion": standing[-1] if standing else "none",
        "step": str(transition.step) if transition.step else "none",
        "reason": transition.reason,
        "time": dg.MetadataValue.timestamp(transition.time),
        "url": dg.MetadataValue.url(f"{installation.settings.endpoint_url}/v1"),
    }
    if transition.evidence is None:
        return metadata
    try:
        kept = read_kept(installation.home, application, transition.evidence)
    except UserError as error:
        return metadata | {"evidence": str(error)}
    return metadata | _evidence(kept)


def _evidence(kept: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "decided_in": kept["step"],
        "num_pairs": kept["num_pairs"],
        "num_failures": kept["num_failures"],
        "arms": dg.MetadataValue.md(_arms(kept)),
        "evidence": dg.MetadataValue.json(kept),
    }
    judged = kept["judged"]
    metadata["judged_n"] = judged["n"]
    if judged["n"]:
        metadata["judged_mean"] = judged["mean"]
    if kept["slices"]:
        metadata["slices"] = dg.MetadataValue.md(_slices(kept))
    image = plot_intervals(kept)
    if image is not None:
        metadata["guardrails"] = picture(image, alt="what was compared, with its interval")
    effect = kept["effect"]
    if effect is not None and effect["value"] is not None:
        metadata |= {f"effect_{key}": effect[key] for key in ("value", "low", "high")}
        metadata["metric"] = effect["metric"]
    return metadata


def _arms(kept: dict[str, Any]) -> str:
    rows = [
        ("requests", lambda arm: arm["failures"]["n"]),
        ("failed tries", lambda arm: int(arm["failures"]["total"])),
        ("fallback answers", lambda arm: arm["fallbacks"]),
        ("users", lambda arm: arm["num_users"]),
        ("declined", lambda arm: _percent(arm["refusals"])),
        ("negative feedback", lambda arm: _percent(arm["negative"])),
        ("metric", lambda arm: _percent(arm["metric"])),
        ("95th percentile, s", lambda arm: _number(arm["p95_seconds"])),
        ("first token, 95th percentile, s", lambda arm: _number(arm["p95_first_token_seconds"])),
        ("tokens an answer", lambda arm: _number(arm["mean_response_tokens"])),
    ]
    lines = ["| | champion | challenger |", "|---|---|---|"]
    lines += [
        f"| {name} | {of(kept['champion'])} | {of(kept['challenger'])} |" for name, of in rows
    ]
    return "\n".join(lines)


def _slices(kept: dict[str, Any]) -> str:
    lines = ["| slice | champion | n | challenger | n |", "|---|---|---|---|---|"]
    for part in kept["slices"]:
        champion, challenger = part["champion"], part["challenger"]
        lines.append(
            f"| {part['name']} | {_percent(champion)} | {champion['n']} "
            f"| {_percent(challenger)} | {challenger['n']} |"
        )
    return "\n".join(lines)


def _percent(rate: dict[str, Any]) -> str:
    return "" if rate["mean"] is None else f"{100 * rate['mean']:.1f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
