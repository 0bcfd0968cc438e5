"""Whether users are less content than they were: two rates of different days, compared."""

import math
from statistics import NormalDist
from typing import NamedTuple

from llm_assets.drift.triggers.outcomes import Outcomes
from llm_assets.intervals import newcombe


class Change(NamedTuple):
    """How the satisfaction rate went: `highest` is the upper end of a one-sided interval.

    All are nan where one side has no verdicts.
    """

    before: float
    recent: float
    difference: float
    highest: float


def satisfaction_change(before: Outcomes, recent: Outcomes, *, false_alarm_rate: float) -> Change:
    """Compare recent verdicts with those before them.

    Where nothing has changed, `highest` lies below 0 at most about as often as the rate of false
    alarms says. It is the upper limit of Newcombe's interval.

    >>> change = satisfaction_change(
    ...     Outcomes(num_verdicts=400, num_content=340),
    ...     Outcomes(num_verdicts=100, num_content=60),
    ...     false_alarm_rate=0.03,
    ... )
    >>> round(change.difference, 2), round(change.highest, 2)
    (-0.25, -0.16)
    """
    if not before.num_verdicts or not recent.num_verdicts:
        return Change(math.nan, math.nan, math.nan, math.nan)
    z = NormalDist().inv_cdf(1 - false_alarm_rate)
    old, new = (side.num_content / side.num_verdicts for side in (before, recent))
    highest = newcombe(
        recent.num_content, recent.num_verdicts, before.num_content, before.num_verdicts, z=z
    ).high
    return Change(old, new, new - old, highest)
