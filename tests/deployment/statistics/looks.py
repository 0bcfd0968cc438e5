"""Simulated trials that someone looks at after every sample."""

from typing import NamedTuple

import numpy as np


class Looks(NamedTuple):
    """The sums and numbers of both arms: a row a trial, a column a look."""

    first_totals: np.ndarray
    first_ns: np.ndarray
    second_totals: np.ndarray
    second_ns: np.ndarray


def draw(
    rng: np.random.Generator,
    *,
    num_trials: int,
    num_looks: int,
    rates: tuple[float, float],
    share: float,
) -> Looks:
    """Return trials of two arms with these success rates, of which the first gets `share`."""
    is_first = rng.random((num_trials, num_looks)) < share
    is_success = rng.random(is_first.shape) < np.where(is_first, *rates)
    return Looks(
        first_totals=(is_first & is_success).cumsum(axis=1),
        first_ns=is_first.cumsum(axis=1),
        second_totals=(~is_first & is_success).cumsum(axis=1),
        second_ns=(~is_first).cumsum(axis=1),
    )
