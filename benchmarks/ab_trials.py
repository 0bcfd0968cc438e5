"""Simulated A/B tests of two success rates, and rules that look at them after every sample."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from llm_assets.deployment.statistics.difference import difference, log_evidence
from llm_assets.intervals import Z_95

ALPHA = 0.05
# As TensorZero has it by default: no rule looks at arms with fewer samples than that, but ours.
_MIN_SAMPLES = 10
_AT_ONCE = 20_000


class Trials(NamedTuple):
    """The sums and numbers of both arms: a row a trial, a column a look."""

    challenger_totals: np.ndarray
    challenger_ns: np.ndarray
    champion_totals: np.ndarray
    champion_ns: np.ndarray


class Decisions(NamedTuple):
    """At how many samples of both arms each trial was decided, nan for never, and for whom."""

    num_samples: np.ndarray
    is_challenger: np.ndarray


Rule = Callable[[Trials], Decisions]


def deal(
    rng: np.random.Generator,
    *,
    num_trials: int,
    num_samples: int,
    rates: tuple[float, float],
    share: float,
) -> Trials:
    """Return trials of a challenger and a champion with these rates."""
    is_challenger = rng.random((num_trials, num_samples), np.float32) < share
    is_success = rng.random((num_trials, num_samples), np.float32) < np.where(is_challenger, *rates)
    return Trials(
        challenger_totals=(is_challenger & is_success).cumsum(axis=1, dtype=np.int32),
        challenger_ns=is_challenger.cumsum(axis=1, dtype=np.int32),
        champion_totals=(~is_challenger & is_success).cumsum(axis=1, dtype=np.int32),
        champion_ns=(~is_challenger).cumsum(axis=1, dtype=np.int32),
    )


def ours(*, share: float) -> Rule:
    """Return our rule: the first look at which the interval of the difference leaves out 0."""

    def decide(trials: Trials) -> Decisions:
        num_samples, is_challenger = _undecided(trials)
        for row, column in _candidates(trials, share=share):
            if math.isnan(num_samples[row]):
                counts = (int(counts[row, column]) for counts in trials)
                low, high = difference(*counts, alpha=ALPHA, share=share)
                if low > 0 or high < 0:
                    num_samples[row], is_challenger[row] = column + 1, low > 0
        return Decisions(num_samples, is_challenger)

    return decide


def _candidates(trials: Trials, *, share: float) -> np.ndarray:
    """Return the looks, row by row, at which the interval may leave out 0; at no other it can.

    The evidence against equal means is no more than that against the pooled one, and that no more
    than the generalized likelihood ratio.
    """
    total = trials.challenger_totals + trials.champion_totals
    n = trials.challenger_ns + trials.champion_ns
    ratio = _log_likelihood(trials.challenger_totals, trials.challenger_ns)
    ratio += _log_likelihood(trials.champion_totals, trials.champion_ns)
    ratio -= _log_likelihood(total, n)
    is_candidate = ratio >= -math.log(ALPHA)
    is_candidate &= (trials.challenger_ns > 0) & (trials.champion_ns > 0)
    rows, columns = np.nonzero(is_candidate)
    pooled = (total / n)[rows, columns]
    a, b, c, d = (counts[rows, columns] for counts in trials)
    evidence = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        mean = pooled[part]
        evidence[part] = log_evidence(a[part], b[part], c[part], d[part], mean, mean, share=share)
    return np.stack([rows, columns], axis=1)[evidence >= -math.log(ALPHA)]


def _log_likelihood(total: np.ndarray, n: np.ndarray) -> np.ndarray:
    from scipy.special import xlogy

    rate = total / np.maximum(n, 1)
    return xlogy(total, rate) + xlogy(n - total, 1 - rate)


def peeking(trials: Trials) -> Decisions:
    """Decide by the usual z-test, meant for one look at a number fixed beforehand."""
    pooled = (trials.challenger_totals + trials.champion_totals) / (
        trials.challenger_ns + trials.champion_ns
    )
    variance = (
        pooled * (1 - pooled) * (_inverse(trials.challenger_ns) + _inverse(trials.champion_ns))
    )
    return _first(trials, _gap(trials) ** 2 > Z_95**2 * variance)


def tensorzero(trials: Trials) -> Decisions:
    """Decide by the stopping rule of TensorZero's `check_stopping.rs`, written down from there.

    A generalized likelihood ratio of normal variables, gap² / 2 variances, against
    log((1 + log n) / delta). It looks every five minutes by default, here after every sample.
    """
    variance = np.zeros(trials.champion_ns.shape)
    for total, n in ((trials[0], trials[1]), (trials[2], trials[3])):
        rate = total / np.maximum(n, 1)
        sample_variance = rate * (1 - rate) * n / np.maximum(n - 1, 1)
        variance += np.maximum(sample_variance, 1e-12) * _inverse(n)
    n = trials.challenger_ns + trials.champion_ns
    return _first(trials, _gap(trials) ** 2 / 2 > variance * np.log((1 + np.log(n)) / ALPHA))


def _gap(trials: Trials) -> np.ndarray:
    challenger = trials.challenger_totals * _inverse(trials.challenger_ns)
    return challenger - trials.champion_totals * _inverse(trials.champion_ns)


def _inverse(n: np.ndarray) -> np.ndarray:
    return 1 / np.maximum(n, 1)


def _first(trials: Trials, is_decided: np.ndarray) -> Decisions:
    is_decided &= np.minimum(trials.challenger_ns, trials.champion_ns) >= _MIN_SAMPLES
    num_samples, is_challenger = _undecided(trials)
    rows = np.flatnonzero(is_decided.any(axis=1))
    columns = is_decided[rows].argmax(axis=1)
    num_samples[rows] = columns + 1
    is_challenger[rows] = _gap(trials)[rows, columns] > 0
    return Decisions(num_samples, is_challenger)


def _undecided(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    num_trials = len(trials.champion_ns)
    return np.full(num_trials, np.nan), np.zeros(num_trials, dtype=bool)
