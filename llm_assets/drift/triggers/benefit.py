"""Whether a cycle is worth its cost.

    benefit = affected share x requests a day x days x gain x value of a better answer
    cost    = hours of the cycle x cost of an hour

The affected share is the share of the answers that the cause speaks of. Of drift it is the share
of new prompts in the strongest drifted window above the usual share, of quality the fall of the
satisfaction rate, of volume the share of answers that users corrected. A part of them, the
expected gain, is answered better after the cycle, for as many days as its benefit is counted.
"""

from typing import NamedTuple


class Worth(NamedTuple):
    """What a cycle is expected to bring and to cost, in the application's currency."""

    benefit: float
    cost: float

    @property
    def is_too_little(self) -> bool:
        """Whether it is known to bring less than it costs; a benefit that is nan is not."""
        return self.benefit < self.cost


def worth(
    affected_share: float,
    *,
    requests_a_day: float,
    benefit_days: float,
    expected_gain: float,
    value_per_better_answer: float,
    expected_hours: float,
    gpu_hour_cost: float,
) -> Worth:
    """Return what a cycle brings and costs; the benefit is nan where the affected share is.

    >>> worth(
    ...     0.1,
    ...     requests_a_day=1000,
    ...     benefit_days=30,
    ...     expected_gain=0.5,
    ...     value_per_better_answer=0.01,
    ...     expected_hours=4,
    ...     gpu_hour_cost=2.5,
    ... )
    Worth(benefit=15.0, cost=10.0)
    """
    better_answers = affected_share * requests_a_day * benefit_days * expected_gain
    return Worth(better_answers * value_per_better_answer, expected_hours * gpu_hour_cost)
