"""Whether the arms got their planned shares: where they did not, no comparison can be trusted."""

import math
from typing import NamedTuple

from llm_assets.deployment.statistics.mixture import log_evidence


class SampleRatio(NamedTuple):
    """The challenger's observed share, nan when n is 0, and whether it contradicts the plan."""

    share: float
    p_value: float
    is_mismatch: bool


def sample_ratio(n_challenger: int, n: int, share: float, *, alpha: float) -> SampleRatio:
    """Return whether `n_challenger` of n assignments contradict the challenger's planned share.

    With probability 1 - alpha no look ever finds a mismatch when there is none: Lindon, Malek,
    "Anytime-valid inference for multinomial count data", NeurIPS 2022. Give it one count a user
    where users stay with their arm, since requests of one user are not independent of each other,
    and only counts of the time when the plan was this one.

    >>> sample_ratio(510, 1000, 0.5, alpha=0.01).is_mismatch
    False
    >>> sample_ratio(400, 1000, 0.5, alpha=0.01).is_mismatch
    True
    """
    assert 0 < share < 1, f"a planned share of {share}"
    assert 0 <= n_challenger <= n, f"{n_challenger} assignments of {n}"
    p_value = math.exp(min(0.0, -log_evidence(n_challenger, n, share)))
    return SampleRatio(n_challenger / n if n else math.nan, p_value, p_value <= alpha)
