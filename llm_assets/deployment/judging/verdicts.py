"""What a judge said of a pair, and how it adds up."""

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass


class Outcome(enum.StrEnum):
    """Whose answer is better."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    TIE = "tie"


_SCORES = {Outcome.CHALLENGER: 1.0, Outcome.TIE: 0.5, Outcome.CHAMPION: 0.0}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of one pair; `by` is a scorer's or a model's name.

    `reason` is one of a few sentences of ours and never repeats what a user or a model wrote.
    """

    request_id: str
    outcome: Outcome
    by: str
    reason: str

    @property
    def score(self) -> float:
        """What the challenger got, from 0 to 1; a mean above 0.5 says that it is the better one."""
        return _SCORES[self.outcome]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often the challenger was better, worse, and neither."""

    num_wins: int = 0
    num_losses: int = 0
    num_ties: int = 0

    @property
    def n(self) -> int:
        """The number of verdicts."""
        return self.num_wins + self.num_losses + self.num_ties

    @property
    def mean_score(self) -> float:
        """The mean of the scores; nan without a verdict."""
        return (self.num_wins + 0.5 * self.num_ties) / self.n if self.n else math.nan


def tally(verdicts: Iterable[Verdict]) -> Tally:
    """Count verdicts by their outcome."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return Tally(
        num_wins=outcomes.count(Outcome.CHALLENGER),
        num_losses=outcomes.count(Outcome.CHAMPION),
        num_ties=outcomes.count(Outcome.TIE),
    )
