"""The difference between two models' accuracies on the same samples."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from llm_assets.intervals import Interval, wilson


class PairedDifference(NamedTuple):
    """The difference of two accuracies and its 95 % interval."""

    value: float
    interval: Interval


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """Return the accuracy of `first` less that of `second`, of which each item is one sample.

    The interval is method 10 of Newcombe, "Improved confidence intervals for the difference
    between binomial proportions based on paired data", Statistics in Medicine 17 (1998): two
    Wilson intervals joined under the correlation of the pairs, which stays sensible at rates of 0
    and 1, where the usual standard error is 0. Everything is nan when there are no samples.

    >>> value, (low, high) = paired_difference(
    ...     [True] * 48 + [False] * 2, [True] * 36 + [False] * 12 + [True] * 2
    ... )
    >>> round(value, 2), round(low, 4), round(high, 4)
    (0.2, 0.0569, 0.3404)
    """
    n = len(first)
    assert n == len(second), f"{n} and {len(second)} samples"
    if n == 0:
        return PairedDifference(math.nan, Interval(math.nan, math.nan))
    num_first, num_second = sum(first), sum(second)
    value = (num_first - num_second) / n
    low_1, high_1 = wilson(num_first, n)
    low_2, high_2 = wilson(num_second, n)
    below_1, above_1 = num_first / n - low_1, high_1 - num_first / n
    below_2, above_2 = num_second / n - low_2, high_2 - num_second / n
    phi = _correlation(first, second)
    down = math.sqrt(max(0.0, below_1**2 - 2 * phi * below_1 * above_2 + above_2**2))
    up = math.sqrt(max(0.0, above_1**2 - 2 * phi * above_1 * below_2 + below_2**2))
    return PairedDifference(value, Interval(max(-1.0, value - down), min(1.0, value + up)))


def _correlation(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the phi coefficient of the pairs with Newcombe's continuity correction."""
    n = len(first)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    num_first, num_second = sum(first), sum(second)
    neither = n - num_first - num_second + both
    product = both * neither - (num_first - both) * (num_second - both)
    if product > 0:
        product = max(0.0, product - n / 2)
    spread = num_first * (n - num_first) * num_second * (n - num_second)
    return product / math.sqrt(spread) if spread else 0.0
