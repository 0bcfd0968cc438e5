"""Measures how often an A/B test looked at after every sample is wrong, and how long it takes.

Beside ours: the z-test, which is meant for one look, and the stopping rule of TensorZero's adaptive
experiments, written down from its source. Of those its documentation says, about a good prompt
against a bad one: "After a few hundred inferences, TensorZero becomes confident enough to declare
it the winner" (https://www.tensorzero.com/docs/experimentation/run-adaptive-ab-tests).

    python -W ignore benchmarks/ab.py [--quick]
"""

import argparse
import math
import statistics

import numpy as np
from ab_trials import ALPHA, Decisions, Rule, deal, ours, peeking, tensorzero

from llm_assets.deployment.statistics.allocation import challenger_share
from llm_assets.deployment.statistics.difference import difference
from llm_assets.deployment.statistics.mixture import log_evidence
from llm_assets.intervals import wilson

_RATES = (0.05, 0.2, 0.5, 0.9)
_GAPS = ((0.6, 0.5), (0.3, 0.2), (0.9, 0.8))
_SRM_SHARES = (0.01, 0.05, 0.25, 0.5)
_MOST_SAMPLES = 10_000
_CHUNK = 100
_UNEVEN = 0.05
_REDEAL_EVERY = 100
_NUM_REDEALT = 200


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    options = parser.parse_args()
    num_trials = 100 if options.quick else 1000
    rng = np.random.default_rng(0)
    print(f"False winners among {num_trials:,} A/A tests (alpha {ALPHA}), looked at after each of")
    print(f"{_MOST_SAMPLES:,} samples of both arms together, with 95 % intervals")
    print(f"{'rate':<8}{'share':<8}{'ours':>22}{'z-test, peeked at':>22}{'TensorZero':>22}")
    for share, rates in ((0.5, _RATES), (_UNEVEN, _RATES[::2])):
        for rate in rates:
            found = decide(rng, (rate, rate), share=share, num_trials=num_trials)
            cells = "".join(f"{_rate(decisions):>22}" for decisions in found)
            print(f"{rate:<8}{share:<8}{cells}", flush=True)
    print("\nSamples of both arms together until the winner is known: median, 90th percentile")
    print(
        f"{'rates':<14}{'share':<8}{'ours':>16}{'TensorZero':>16}{'z-test, one look':>20}", end=""
    )
    print(f"{'ours wrong':>12}{'undecided':>11}")
    for share, gaps in ((0.5, _GAPS), (_UNEVEN, _GAPS[:1])):
        for rates in gaps:
            us, _, them = decide(rng, rates, share=share, num_trials=num_trials)
            is_wrong = ~np.isnan(us.num_samples) & (us.is_challenger != (rates[0] > rates[1]))
            print(f"{rates[0]} > {rates[1]!s:<8}{share:<8}{_samples(us):>16}", end="")
            print(f"{_samples(them):>16}{fixed_horizon(rates, share=share):>20,}", end="")
            print(f"{is_wrong.sum():>12}{np.isnan(us.num_samples).sum():>11}", flush=True)
    print_redealt(rng, num_trials=_NUM_REDEALT // (10 if options.quick else 1))
    print(f"\nFalse alarms of the sample ratio (alpha {ALPHA}), after each of {_MOST_SAMPLES:,}")
    for share in _SRM_SHARES:
        num_alarms = sum(false_alarms(rng, share=share) for _ in range(num_trials // _CHUNK))
        print(f"share {share:<8}{_interval(num_alarms, num_trials)}")


def decide(
    rng: np.random.Generator, rates: tuple[float, float], *, share: float, num_trials: int
) -> list[Decisions]:
    """Return what our rule, the z-test, and TensorZero's rule decide of the same trials."""
    rules: tuple[Rule, ...] = (ours(share=share), peeking, tensorzero)
    chunks = []
    for _ in range(num_trials // _CHUNK):
        trials = deal(rng, num_trials=_CHUNK, num_samples=_MOST_SAMPLES, rates=rates, share=share)
        chunks.append([rule(trials) for rule in rules])
    return [
        Decisions(*map(np.concatenate, zip(*chunk, strict=True)))
        for chunk in zip(*chunks, strict=True)
    ]


def fixed_horizon(rates: tuple[float, float], *, share: float) -> int:
    """Return how many samples a two-sided z-test takes that looks once, with power 0.8."""
    normal = statistics.NormalDist()
    pooled = share * rates[0] + (1 - share) * rates[1]
    null = pooled * (1 - pooled) * (1 / share + 1 / (1 - share))
    other = rates[0] * (1 - rates[0]) / share + rates[1] * (1 - rates[1]) / (1 - share)
    width = normal.inv_cdf(1 - ALPHA / 2) * math.sqrt(null) + normal.inv_cdf(0.8) * math.sqrt(other)
    return math.ceil((width / (rates[0] - rates[1])) ** 2)


def print_redealt(rng: np.random.Generator, *, num_trials: int) -> None:
    """Print what it costs and saves to give the better arm more, at rates of 0.6 and 0.5."""
    print(f"\nShares dealt anew every {_REDEAL_EVERY} samples, {num_trials} trials of 0.6 > 0.5")
    for name, is_adaptive in (("equal", False), ("challenger_share", True)):
        ended = [redealt(rng, is_adaptive=is_adaptive) for _ in range(num_trials)]
        samples, worse = (statistics.median(numbers) for numbers in zip(*ended, strict=True))
        print(f"{name:<18}median samples {samples:,.0f}, of them with the worse arm {worse:,.0f}")


def redealt(rng: np.random.Generator, *, is_adaptive: bool) -> tuple[int, int]:
    """Return at how many samples a trial ended, and how many of them the worse arm got."""
    totals, ns = [0, 0], [0, 0]
    while sum(ns) < _MOST_SAMPLES:
        share = challenger_share(totals[0], ns[0], totals[1], ns[1]) if is_adaptive else 0.5
        num = int(rng.binomial(_REDEAL_EVERY, share))
        for arm, (more, rate) in enumerate(((num, 0.6), (_REDEAL_EVERY - num, 0.5))):
            ns[arm] += more
            totals[arm] += int(rng.binomial(more, rate))
        low, high = difference(totals[0], ns[0], totals[1], ns[1], alpha=ALPHA)
        if low > 0 or high < 0:
            break
    return sum(ns), ns[1]


def false_alarms(rng: np.random.Generator, *, share: float) -> int:
    """Return in how many trials of a chunk the sample ratio is found wrong at some look."""
    counts = (rng.random((_CHUNK, _MOST_SAMPLES)) < share).cumsum(axis=1)
    evidence = log_evidence(counts, np.arange(1, _MOST_SAMPLES + 1), share)
    return int((evidence.max(axis=1) >= -math.log(ALPHA)).sum())


def _rate(decisions: Decisions) -> str:
    return _interval(int((~np.isnan(decisions.num_samples)).sum()), len(decisions.num_samples))


def _interval(num: int, n: int) -> str:
    low, high = wilson(num, n)
    return f"{num / n:.3f} [{low:.3f}, {high:.3f}]"


def _samples(decisions: Decisions) -> str:
    """Return the median and the 90th percentile; who never ends, ends after all others."""
    samples = np.nan_to_num(decisions.num_samples, nan=np.inf)
    return ", ".join(f"{value:,.0f}" for value in np.quantile(samples, (0.5, 0.9), method="higher"))


if __name__ == "__main__":
    main()
