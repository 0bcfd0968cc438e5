"""Recorded scores under another policy: an exceedance rate is good for any rate of false alarms."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers.causes import Window

# Another value of one of these makes other scores; of the rest it only judges them otherwise.
_SCORED_WITH = ("reference", "seasonal_weeks", "reference_days", "embedding_model", "max_prompts")


class Rejudged(NamedTuple):
    """The rows of a day under a policy: those of its detectors, which all decide.

    `is_as_recorded` tells that some score has no exceedance rate, because it was recorded before
    there were any, so that it counts as it was judged then.
    """

    rows: list[dict[str, Any]]
    is_as_recorded: bool


def rejudged(rows: Iterable[Mapping[str, Any]], *, config: DriftConfig) -> Rejudged:
    """Judge rows of `drift_scores` with the detectors and the rate of a policy.

    A detector drifts whose score unchanged traffic reaches at most as often as the policy allows
    each of its detectors. That is the score over its threshold, but for one draw of the null:
    a score whose rate lies within that of what is allowed can be over and still not count.
    """
    judged: list[dict[str, Any]] = []
    is_as_recorded = False
    for row in rows:
        if row["detector"] not in config.detectors:
            continue
        rate = row.get("exceedance_rate")
        changes: dict[str, Any] = {"decides": True}
        if math.isnan(row["score"]):
            changes["is_drifted"] = False
        elif row["n"] < config.min_prompts:
            reason = f"{row['n']} prompts, fewer than min_prompts {config.min_prompts}"
            changes |= {"score": math.nan, "is_drifted": False, "reason": reason}
        elif rate is None or math.isnan(rate):
            is_as_recorded = True
        else:
            changes["is_drifted"] = rate <= config.false_alarm_rate_each
        judged.append({**row, **changes})
    return Rejudged(judged, is_as_recorded)


def window_of(day: date, judged: Rejudged, *, config: DriftConfig) -> Window:
    """Sum up a day under a policy; the summary says how rare the scores are.

    Their thresholds are those of the rate that they were recorded with.
    """
    window = Window.from_scores(day, judged.rows)
    if window.is_drifted is None or judged.is_as_recorded:
        return window
    return dataclasses.replace(window, summary=_summary(judged.rows, config=config))


def needs_other_scores(policy: DriftConfig, recorded: DriftConfig) -> bool:
    """Tell whether a policy scores days otherwise than they were scored when they were recorded."""
    is_scored_otherwise = any(
        getattr(policy, name) != getattr(recorded, name) for name in _SCORED_WITH
    )
    return is_scored_otherwise or policy.min_prompts < recorded.min_prompts


def _summary(rows: Sequence[Mapping[str, Any]], *, config: DriftConfig) -> str:
    """Say how rare the scores are: the recorded thresholds are those of another rate."""
    defined = [row for row in rows if not math.isnan(row["score"])]
    drifted = [row for row in defined if row["is_drifted"]]
    allowed = config.false_alarm_rate_each
    return ", ".join(
        f"{row['detector']} {row['score']:.3g} has a chance of {row['exceedance_rate']:.2g}, "
        f"{'at most' if row['is_drifted'] else 'over'} {allowed:.2g}, n={row['n']}"
        for row in drifted or defined
    )
