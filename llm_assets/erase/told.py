"""What an erasure says of itself, for people and as JSON; never whose it was."""

from typing import Any

import pydantic

from llm_assets.erase.run import Outcome
from llm_assets.erasures import Erasure


def describe(outcome: Outcome, *, is_dry: bool) -> str:
    """Return an outcome in a few lines."""
    erasure = outcome.erasure
    if erasure.is_empty:
        last = max((earlier.begun_at for earlier in outcome.earlier), default=None)
        return f"nothing was found; this user was erased on {last.date()}" if last else "nothing"
    lines = [f"{'would erase' if is_dry else 'erased'} the data of 1 user:"]
    lines += [f"  {num_rows:>7}  {store}" for store, num_rows in sorted(erasure.counts.items())]
    lines += [
        f"  {application}: {len(days)} days changed, from {min(days)} to {max(days)}"
        for application, days in erasure.days.items()
    ]
    for version, mark in erasure.versions.items():
        facts = [
            f"trained on {mark.num_learnt} rows" if mark.num_learnt else "",
            f"evaluated on {mark.num_holdout} rows" if mark.num_holdout else "",
            f"{mark.num_samples} samples in its report" if mark.num_samples else "",
            f"{mark.num_baseline} prompts in its baseline" if mark.num_baseline else "",
            "has a checkpoint" if mark.has_checkpoint else "",
            "serves" if mark.is_champion else "has served" if mark.has_served else "",
        ]
        lines.append(f"  {version}: {', '.join(filter(None, facts))}")
    if any(mark.num_learnt and mark.has_checkpoint for mark in erasure.versions.values()):
        lines.append(
            "Weights cannot be cleaned: a version that was trained on the data keeps what it "
            "learnt until the next one replaces it."
        )
    lines += [f"  still holds some of it: {path}" for path in outcome.left]
    if outcome.left:
        lines.append(
            "These files are Dagster's or logs of processes: delete the runs or the files by hand."
        )
    return "\n".join(lines)


def to_json(outcome: Outcome, *, is_dry: bool) -> dict[str, Any]:
    """Return an outcome as plain values."""
    plain = pydantic.TypeAdapter(Erasure).dump_python(outcome.erasure, mode="json")
    del plain["traces"]
    return {
        **plain,
        "is_dry_run": is_dry,
        "num_earlier": len(outcome.earlier),
        "left": [str(path) for path in outcome.left],
    }
