"""How many of the next requests the challenger gets while both arms are compared."""

import numpy as np

# Of one arm at least a tenth, so that the comparison goes on and can still turn.
_MOST = 0.9
_NUM_NODES = 64


def challenger_share(
    challenger_total: float, challenger_n: int, champion_total: float, champion_n: int
) -> float:
    """Return the challenger's share, from 0.1 to 0.9, by sums and numbers of rewards in [0, 1].

    Top-two Thompson sampling: the arm that seems best gets the request nine times in ten, the other
    one else. Russo, "Simple Bayesian algorithms for best-arm identification", Operations Research
    68 (2020). More users meet the better arm while the comparison lasts. Until it is decided no
    fewer meet the worse one, since equal shares decide several times sooner (`benchmarks/ab.py`).

    >>> challenger_share(0, 0, 0, 0)
    0.5
    >>> round(challenger_share(70, 100, 50, 100), 2)
    0.9
    """
    better = _probability_better(challenger_total, challenger_n, champion_total, champion_n)
    return _MOST * better + (1 - _MOST) * (1 - better)


def _probability_better(
    first_total: float, first_n: int, second_total: float, second_n: int
) -> float:
    """Return how probably the first arm's mean is the larger one, both uniform before the data."""
    from scipy.special import betainc, betaincinv

    # Over the quantiles of the better known mean the other one's distribution is smooth.
    if first_n < second_n:
        return 1 - _probability_better(second_total, second_n, first_total, first_n)
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_NODES)
    first = betaincinv(1 + first_total, 1 + first_n - first_total, (1 + nodes) / 2)
    below = betainc(1 + second_total, 1 + second_n - second_total, first)
    return float(below @ weights / 2)
