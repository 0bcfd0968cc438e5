"""What a challenger must not be worse in, judged so that one may look at any time.

Every interval is a confidence sequence (`statistics`), so neither the number of looks nor the
moment at which one stops makes a false alarm likelier than it was asked to be.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llm_assets.deployment.config import GuardrailConfig
from llm_assets.deployment.evidence import ArmEvidence, Evidence, Rate
from llm_assets.deployment.statistics.difference import difference
from llm_assets.deployment.statistics.rate import rate_sequence

# A 95th percentile is that of the champion's requests so far once there are so many.
_MIN_FOR_PERCENTILE = 20
_SLOW_RATE = 0.05


class State(enum.StrEnum):
    """What a guardrail says: go on, go back, not known yet, or not measured at all."""

    CLEAR = "clear"
    BREACHED = "breached"
    OPEN = "open"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One guardrail: its value with the interval that holds at every look.

    The value is what the challenger has more than the champion, or of slow requests their rate. It
    breaches when the interval lies above `worst`, and is clear when it lies below `margin`.
    """

    name: str
    state: State
    value: float
    low: float
    high: float
    worst: float
    margin: float
    num_champion: int
    num_challenger: int

    def __str__(self) -> str:
        return (
            f"{self.name} {self.state}: {self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f}, "
            f"n={self.num_challenger} and {self.num_champion}), must stay below {self.margin:+.3f}"
        )


def look(
    evidence: Evidence, *, config: GuardrailConfig, alpha: float, share: float
) -> list[Finding]:
    """Return what every guardrail says.

    `alpha` is the chance that any of them breaches by luck at any look; they share it. `share` is
    the challenger's planned part of what is compared.
    """
    champion, challenger = evidence.champion, evidence.challenger
    rates = [
        ("errors", champion.failures, challenger.failures, config.error_margin),
        ("refusals", champion.refusals, challenger.refusals, config.refusal_margin),
        ("negative_feedback", champion.negative, challenger.negative, config.negative_margin),
    ]
    times = [
        ("slow_answers", "seconds", config.max_latency_ratio),
        ("slow_first_tokens", "first_token_seconds", config.max_first_token_ratio),
    ]
    num_watched = sum(margin is not None for *_, margin in rates)
    num_watched += sum(ratio is not None for *_, ratio in times)
    alpha /= max(num_watched, 1)
    findings = [
        _more(name, theirs, ours, margin=margin, alpha=alpha, share=share)
        for name, theirs, ours, margin in rates
        if margin is not None
    ]
    findings += [
        _slow(name, key, champion, challenger, ratio=ratio, margin=config.slow_margin, alpha=alpha)
        for name, key, ratio in times
        if ratio is not None
    ]
    if config.max_restarts is not None:
        findings.append(_restarts(evidence.num_restarts, config.max_restarts))
    return findings


def _more(
    name: str, champion: Rate, challenger: Rate, *, margin: float, alpha: float, share: float
) -> Finding:
    """Compare two rates: worse beyond chance breaches."""
    if not champion.n or not challenger.n:
        return _unmeasured(name, champion.n, challenger.n, margin=margin)
    low, high = difference(
        challenger.total, challenger.n, champion.total, champion.n, alpha=alpha / 2, share=share
    )
    # Where nearly nothing fails, each arm's own interval shows sooner that it stays so.
    ours = rate_sequence(challenger.total, challenger.n, alpha=alpha / 4)
    theirs = rate_sequence(champion.total, champion.n, alpha=alpha / 4)
    low, high = max(low, ours.low - theirs.high), min(high, ours.high - theirs.low)
    return Finding(
        name=name,
        state=_state(low, high, worst=0.0, margin=margin),
        value=challenger.mean - champion.mean,
        low=low,
        high=high,
        worst=0.0,
        margin=margin,
        num_champion=champion.n,
        num_challenger=challenger.n,
    )


def _slow(
    name: str,
    key: str,
    champion: ArmEvidence,
    challenger: ArmEvidence,
    *,
    ratio: float,
    margin: float,
    alpha: float,
) -> Finding:
    theirs: Sequence[float] = getattr(champion, key)
    ours: Sequence[float] = getattr(challenger, key)
    limit = _SLOW_RATE + margin
    if len(theirs) < _MIN_FOR_PERCENTILE or not ours:
        return _unmeasured(name, len(theirs), len(ours), margin=limit)
    slow = ratio * percentile_95(theirs)
    num_slow = sum(seconds > slow for seconds in ours)
    low, high = rate_sequence(num_slow, len(ours), alpha=alpha)
    return Finding(
        name=name,
        state=_state(low, high, worst=_SLOW_RATE, margin=limit),
        value=num_slow / len(ours),
        low=low,
        high=high,
        worst=_SLOW_RATE,
        margin=limit,
        num_champion=len(theirs),
        num_challenger=len(ours),
    )


def percentile_95(values: Sequence[float]) -> float:
    """Return the 95th percentile, the smallest value that at least 95 % do not exceed.

    nan where there are no values.

    >>> percentile_95(range(1, 101))
    95
    """
    if not values:
        return math.nan
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def _restarts(num_restarts: int, most: int) -> Finding:
    state = State.BREACHED if num_restarts > most else State.CLEAR
    value = float(num_restarts)
    return Finding(
        name="restarts",
        state=state,
        value=value,
        low=value,
        high=value,
        worst=most,
        margin=most,
        num_champion=0,
        num_challenger=num_restarts,
    )


def _state(low: float, high: float, *, worst: float, margin: float) -> State:
    if low > worst:
        return State.BREACHED
    return State.CLEAR if high < margin else State.OPEN


def _unmeasured(name: str, num_champion: int, num_challenger: int, *, margin: float) -> Finding:
    return Finding(
        name=name,
        state=State.UNMEASURED,
        value=math.nan,
        low=math.nan,
        high=math.nan,
        worst=math.nan,
        margin=margin,
        num_champion=num_champion,
        num_challenger=num_challenger,
    )
