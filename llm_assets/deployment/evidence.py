"""What is known of a challenger and the champion beside it since the present step began."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Rate(NamedTuple):
    """Values from 0 to 1 that were added up, and how many they were.

    >>> Rate(3.0, 12).mean
    0.25
    """

    total: float = 0.0
    n: int = 0

    @property
    def mean(self) -> float:
        """The mean; nan where there are no values."""
        return self.total / self.n if self.n else math.nan


_NONE = Rate()


@dataclass(frozen=True, kw_only=True)
class SliceEvidence:
    """The metric of one part of the traffic, e.g. of the streamed requests, by arm."""

    name: str
    champion: Rate
    challenger: Rate


@dataclass(frozen=True, kw_only=True)
class ArmEvidence:
    """One arm of the step.

    `failures` counts the tries that the gateway made at the arm or would have made, had it not
    been put out. `refusals` (answers that decline), `negative`, and `metric` have one value a user,
    the mean over the user's requests, of which the metric is the better the higher it is.
    `seconds` and `first_token_seconds` are of the requests that it answered.
    """

    failures: Rate = _NONE
    fallbacks: int = 0
    refusals: Rate = _NONE
    negative: Rate = _NONE
    metric: Rate = _NONE
    num_users: int = 0
    seconds: Sequence[float] = ()
    first_token_seconds: Sequence[float] = ()
    num_response_tokens: Rate = _NONE


class Away(NamedTuple):
    """How long a challenger's server has not been ready while somebody looked, and why."""

    seconds: float
    problem: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a decision is made of, but for the plan and the clock.

    `smoke` is None while the smoke test goes on, and `problem` says why it failed; `waited_seconds`
    is how long somebody has looked at the step without a break, and `away` is None while the
    challenger's server is ready. `judged` adds up the judged pairs of the shadow step: 1 for a win
    of the challenger, one half for a tie.
    """

    champion: ArmEvidence = ArmEvidence()
    challenger: ArmEvidence = ArmEvidence()
    smoke: bool | None = None
    problem: str = ""
    waited_seconds: float = 0.0
    away: Away | None = None
    num_pairs: int = 0
    judged: Rate = _NONE
    num_restarts: int = 0
