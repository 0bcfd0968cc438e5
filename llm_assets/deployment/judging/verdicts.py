"""What a judge said of a pair, and how it adds up."""

import enum
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
