"""What a cycle would answer: one function a cause, which says why it is there or why it is not.

`since` is when the last cycle started: it has answered everything until its day.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.triggers.outcomes import DayOutcomes, last_days, pooled
from llm_assets.drift.triggers.satisfaction import satisfaction_change

# Their effect size is a share of the day's prompts; that of the other detectors is not.
_SHARES = (Detector.NOVELTY, Detector.TOPIC_GROWTH)
# Undefined days do not count as windows, so more days are looked at than windows are needed.
_DAYS_A_WINDOW = 4


BASE_MODEL = "base_model"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Why a cause is there, or why not: then `key` is None.

    `affected_share` is the share of the answers that a cycle could make better, nan if unknown.
    """

    key: str | None
    reason: str
    affected_share: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Request:
    """A person's request for a cycle that has not been served yet, and why they made it."""

    request_id: str
    because: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """What the application asks for now and the champion was not made for.

    `parts` maps what is different, e.g. "system_prompt", to the hash of what it is now.
    """

    model_version: str
    parts: Mapping[str, str]

    @classmethod
    def between(
        cls, model_version: str, made_for: Mapping[str, str | None], wanted: Mapping[str, str]
    ) -> "Change | None":
        """Compare the hashes in a version's manifest with those of now.

        What the manifest of an older version does not say is no change.
        """
        parts = {part: now for part, now in wanted.items() if made_for.get(part) not in (None, now)}
        return cls(model_version=model_version, parts=parts) if parts else None


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the detectors said of one day; `is_drifted` is None where no score was defined.

    `affected_share` is the share of the day's prompts that are of a kind not seen so often before,
    nan where no detector says so.
    """

    day: date
    is_drifted: bool | None
    summary: str
    affected_share: float = math.nan

    @classmethod
    def from_scores(cls, day: date, rows: Iterable[Mapping[str, Any]]) -> "Window":
        """Sum up the rows of `drift_scores` of one day; of the detectors, those that decide.

        Rows of older days do not say which ones do: then all of them.
        """
        rows = [row for row in rows if row.get("decides") is not False]
        defined = [row for row in rows if not math.isnan(row["score"])]
        if not defined:
            reasons = dict.fromkeys(row["reason"] for row in rows if row["reason"])
            return cls(day=day, is_drifted=None, summary="; ".join(reasons) or "no scores")
        drifted = [row for row in defined if row["is_drifted"]]
        shares = [row.get("effect_size") for row in defined if row["detector"] in _SHARES]
        known = [share for share in shares if share is not None and not math.isnan(share)]
        return cls(
            day=day,
            is_drifted=bool(drifted),
            summary=", ".join(_describe(row) for row in drifted or defined),
            affected_share=min(1.0, max(0.0, *known)) if known else math.nan,
        )


def window_days(days: Sequence[date], *, config: DriftConfig) -> Sequence[date]:
    """Return the days, in order, that are looked at for windows: the newest ones."""
    return days[-_DAYS_A_WINDOW * config.windows :]


def manual(request: Request | None) -> Finding:
    """A person asked."""
    if request is None:
        return Finding(key=None, reason="")
    return Finding(key=request.request_id, reason=f"requested: {request.because}")


def change(found: Change | None) -> Finding:
    """The application is no longer the one that the champion was made for.

    Another base model starts nothing: the champion cannot be asked beside a candidate that is made
    on another one, so no candidate could pass.
    """
    if found is None:
        return Finding(key=None, reason="")
    if BASE_MODEL in found.parts:
        reason = (
            f"the base model is not the one that {found.model_version} was made on, and candidates "
            "on different base models cannot be compared yet"
        )
        return Finding(key=None, reason=reason)
    content = "\0".join(part for item in sorted(found.parts.items()) for part in item)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return Finding(
        key=f"{found.model_version}:{digest}",
        reason=f"not what {found.model_version} was made for: {', '.join(sorted(found.parts))}",
    )


def quality(
    days: Sequence[DayOutcomes],
    *,
    since: datetime | None,
    champion_since: datetime | None,
    now: datetime,
    num_days: int,
    min_verdicts: int,
    false_alarm_rate: float,
) -> Finding:
    """Users are less content with the champion than they were.

    Its last `num_days` are compared with all its days before them. The day of its promotion is
    left out, because another version answered some of it. Late verdicts are still missing from
    the newest days, which matters only as far as late users judge differently.

    Looked at every day, the windows overlap, so the rate is divided by their length: 12 false
    alarms in 365 days then start about one cycle a year although nothing changed, where the
    undivided rate starts four to five (simulated with 20 and with 200 verdicts a day).
    """
    today = now.date()
    own = [day for day in days if champion_since is None or day.day > champion_since.date()]
    before = pooled(day for day in own if day.day <= today - timedelta(days=num_days))
    recent = pooled(
        day
        for day in last_days(own, today=today, num_days=num_days)
        if since is None or day.day > since.date()
    )
    for when, side in ((f"in the last {num_days} days", recent), ("before them", before)):
        if side.num_verdicts < min_verdicts:
            reason = f"{side.num_verdicts} verdicts {when} of {min_verdicts} needed"
            return Finding(key=None, reason=reason)
    found = satisfaction_change(before, recent, false_alarm_rate=false_alarm_rate / num_days)
    reason = (
        f"satisfaction {found.recent:.3f} in the last {num_days} days, n={recent.num_verdicts}, "
        f"{found.before:.3f} before, n={before.num_verdicts}: {found.difference:+.3f}, "
        f"at most {found.highest:+.3f}"
    )
    if found.highest >= 0:
        return Finding(key=None, reason=reason)
    return Finding(key=_since(since), reason=reason, affected_share=-found.difference)


def drift(windows: Iterable[Window], *, since: datetime | None, config: DriftConfig) -> Finding:
    """Users ask for something else than they did: k of the last n defined windows drifted."""
    # Only days after a cycle's own can ask for another.
    new = [window for window in windows if since is None or window.day > since.date()]
    defined = sorted(
        (window for window in new if window.is_drifted is not None), key=lambda w: w.day
    )
    recent = defined[-config.windows :]
    drifted = [window for window in recent if window.is_drifted]
    if not recent:
        when = "yet" if since is None else "since the last cycle"
        return Finding(key=None, reason=f"no window with defined drift scores {when}")
    counts = f"{len(drifted)} of the last {len(recent)} windows drifted"
    if len(drifted) < config.windows_needed:
        reason = f"{counts}, {config.windows_needed} needed; {recent[-1].day}: {recent[-1].summary}"
        return Finding(key=None, reason=reason)
    newest = drifted[-1]
    shares = [w.affected_share for w in drifted if not math.isnan(w.affected_share)]
    return Finding(
        key=newest.day.isoformat(),
        reason=f"{counts}, the newest on {newest.day}: {newest.summary}",
        affected_share=max(shares, default=math.nan),
    )


def volume(
    num_new_feedback: int, days: Iterable[DayOutcomes], *, since: datetime | None, needed: int
) -> Finding:
    """There is enough new feedback to learn from; `days` tell how many answers were corrected."""
    if num_new_feedback < needed:
        return Finding(key=None, reason=f"{num_new_feedback} new feedback of {needed} needed")
    recent = pooled(days)
    return Finding(
        key=_since(since),
        reason=f"{num_new_feedback} new feedback, {needed} needed",
        affected_share=(
            recent.num_corrected / recent.num_answers if recent.num_answers else math.nan
        ),
    )


def _since(time: datetime | None) -> str:
    return "first" if time is None else f"since-{time.isoformat(timespec='seconds')}"


def _describe(row: Mapping[str, Any]) -> str:
    side = "over" if row["is_drifted"] else "under"
    return (
        f"{row['detector']} {row['score']:.3g} is {side} the threshold {row['threshold']:.3g}, "
        f"n={row['n']}"
    )
