"""The data of a training as the loop needs it: examples of three kinds in one row of numbers."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_assets.errors import UserError
from llm_assets.training.engine.frozen import Inputs
from llm_assets.training.engine.scoring import Examples
from llm_assets.training.job import TrainingJob
from llm_assets.training.rows import Rows
from llm_assets.training.tokens import Example, tokenize

_NUM_PROBED = 32


@dataclass(frozen=True)
class Data:
    """Train examples first, then those that are replayed, then those of the validation."""

    train: Sequence[Example]
    replay: Sequence[Example]
    validation: Sequence[Example]

    @classmethod
    def of(cls, job: TrainingJob, rows: Rows, tokenizer: Any) -> "Data":
        """Tokenize the rows of a job.

        Raises:
            UserError: as `tokenize`; or there is nothing to learn from.
        """
        data = cls(
            *(
                tokenize(part, tokenizer, system_prompt=job.system_prompt, config=job.config)
                for part in (rows.train, rows.replay, rows.validation)
            )
        )
        if not data.train:
            raise UserError(f"{job.rows_file}: no train row has a token to learn")
        return data

    @property
    def all(self) -> list[Example]:
        """The examples in the order of their numbers."""
        return [*self.train, *self.replay, *self.validation]

    @property
    def num_learnt(self) -> int:
        """How many examples steps are made of."""
        return len(self.train) + len(self.replay)

    @property
    def held_out(self) -> range:
        """The numbers of the examples of the validation."""
        return range(self.num_learnt, self.num_learnt + len(self.validation))

    @property
    def probe(self) -> range:
        """The numbers of examples whose loss must move: held out ones, else the first."""
        return self.held_out or range(min(_NUM_PROBED, len(self.train)))

    def numbered(self, inputs: Inputs) -> Examples:
        """Return the examples beside what the trained layers are given."""
        sizes = (len(example.sequences) for example in self.all)
        return Examples(self.all, inputs, list(itertools.accumulate(sizes, initial=0)))
