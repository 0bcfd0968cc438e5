"""How long it takes until `windows_needed` of the last `windows` days drifted, and a cycle starts.

That many of so many is a run rule (Wolfowitz 1943; as alarms of control charts: Champ and Woodall,
"Exact results for Shewhart control charts with supplementary runs rules", Technometrics 29, 1987).
Days are taken as independent. Against one baseline they are not quite: one that lies badly makes
all of its days a little more or less likely to drift.
"""

import itertools
import math

import numpy as np

from llm_assets.drift.config import DriftConfig

_DAYS_A_YEAR = 365
# So many states are solved for in a tenth of a second.
_MAX_STATES = 1024


def expected_false_starts_per_year(config: DriftConfig) -> float:
    """Return how often a year drift starts a cycle although nothing changes.

    Brakes can only make it fewer, and so can detectors that agree: the day's rate is the most that
    they spend together.

    >>> from llm_assets.drift.config import DriftConfig
    >>> round(expected_false_starts_per_year(DriftConfig(false_alarms_per_year=12)), 2)
    0.73
    """
    return _DAYS_A_YEAR / mean_days_to_start(
        config.false_alarm_rate, windows=config.windows, windows_needed=config.windows_needed
    )


def mean_days_to_start(rate: float, *, windows: int, windows_needed: int) -> float:
    """Return after how many days on average a cycle starts, when each day drifts at a `rate`.

    The rate is that of false alarms, or the power of the detectors against some change. The days
    are counted from a cycle's start, which windows before it do not outlive. Infinite at rate 0.
    Exact up to 1,024 states of the last days, which is ten windows, or any number of them where
    two are needed; beyond that, within 3 % (Naus, "Approximations for distributions of scan
    statistics", JASA 77, 1982).

    >>> mean_days_to_start(0.5, windows=2, windows_needed=2)
    6.0
    """
    assert 0 <= rate <= 1, rate
    assert 1 <= windows_needed <= windows, (windows_needed, windows)
    if rate == 0:
        return math.inf
    if windows_needed == 1:
        return 1 / rate
    num_states = sum(math.comb(windows - 1, drifted) for drifted in range(windows_needed))
    solve = _exact if num_states <= _MAX_STATES else _by_scan_statistic
    return solve(rate, windows, windows_needed)


def _exact(rate: float, windows: int, needed: int) -> float:
    """Solve the Markov chain whose states are the ages of the drifted days that still count.

    From the state without any, a walk ends in an alarm or back in it. Splitting the time there
    keeps the equations well conditioned, where alarms are so rare that the plain ones are not.
    """
    ages = range(1, windows)
    states = [s for n in range(1, needed) for s in itertools.combinations(ages, n)]
    place = {state: row for row, state in enumerate(states)}
    staying = np.eye(len(states))
    alarm = np.zeros(len(states))
    for state, row in place.items():
        older = tuple(age + 1 for age in state if age + 1 < windows)
        if older:
            staying[row, place[older]] -= 1 - rate
        # Before this day's own outcome the days that count are all of the state's.
        if len(state) + 1 >= needed:
            alarm[row] = rate
        else:
            staying[row, place[(1, *older)]] -= rate
    ends, days = np.linalg.solve(staying, np.stack([alarm, np.ones(len(states))], axis=1))[
        place[(1,)]
    ]
    # Until the first drifted day, then the walk; as many rounds as it takes to end in an alarm.
    return float((1 / rate + days) / ends) if ends > 0 else math.inf


def _by_scan_statistic(rate: float, windows: int, needed: int) -> float:
    """Sum up the chances that no cycle has started yet.

    They are exact until the first window is full and after two and three times as many days;
    between and beyond, the chance falls by the same factor every day.
    """
    days = math.fsum(_at_most(needed - 1, day, rate) for day in range(windows))
    once = _at_most(needed - 1, windows, rate)
    # Rounding can put a chance that is next to nothing below it.
    twice = max(0.0, _quiet_twice(rate, windows, needed))
    thrice = max(0.0, _quiet_thrice(rate, windows, needed))
    if twice == 0:
        return days + once
    days += math.fsum(once * (twice / once) ** (day / windows) for day in range(windows))
    fall = 1 - (thrice / twice) ** (1 / windows)
    return days + twice / fall if fall > 0 else math.inf


def _quiet_twice(p: float, m: int, k: int) -> float:
    """Return the chance that no `m` days in a row of `2 m` hold `k` drifted ones (Naus's Q2)."""
    b = _exactly(k, m, p)
    return (
        _at_most(k - 1, m, p) ** 2
        - (k - 1) * b * _at_most(k - 2, m, p)
        + m * p * b * _at_most(k - 3, m - 1, p)
    )


def _quiet_thrice(p: float, m: int, k: int) -> float:
    """Return the same chance for `3 m` days (Naus's Q3)."""

    def ahead(r: int) -> float:
        return (r - 1) * _at_most(r - 2, m, p) - m * p * _at_most(r - 3, m - 1, p)

    b, f = _exactly(k, m, p), _at_most(k - 1, m, p)
    twice = (
        (k - 1) * (k - 2) * _at_most(k - 3, m, p)
        - 2 * (k - 2) * m * p * _at_most(k - 4, m - 1, p)
        + m * (m - 1) * p * p * _at_most(k - 5, m - 2, p)
    )
    three = sum(_exactly(2 * k - r, m, p) * _at_most(r - 1, m, p) ** 2 for r in range(1, k))
    four = sum(_exactly(2 * k - r, m, p) * _exactly(r, m, p) * ahead(r) for r in range(2, k))
    return f**3 - 2 * b * f * ahead(k) + b * b * twice / 2 + three - four


def _exactly(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k) if 0 <= k <= n else 0.0


def _at_most(k: int, n: int, p: float) -> float:
    return math.fsum(_exactly(drifted, n, p) for drifted in range(min(k, n) + 1))
