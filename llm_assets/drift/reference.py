"""A baseline with all that windows are held against, each part computed once, when first asked."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from llm_assets.drift.baseline import Baseline
from llm_assets.drift.detectors.cells import Cells
from llm_assets.drift.detectors.novelty import NoveltyReference
from llm_assets.drift.detectors.texts import TextReference

_MAX_PROMPTS = 20_000


@dataclass(frozen=True, eq=False)
class Reference:
    """What many windows are scored against; `seed` decides which parts of it are drawn.

    Of a huge baseline 20,000 prompts are looked at, so that the cost of a window has a bound.
    """

    baseline: Baseline
    seed: int = 0

    @property
    def vectors(self) -> np.ndarray:
        """The vectors that are looked at, shape (prompts, dimensions)."""
        return self._drawn.vectors

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts that are looked at, in the order of the vectors."""
        return self._drawn.prompts

    @cached_property
    def _drawn(self) -> Baseline:
        num = len(self.baseline.prompts)
        if num <= _MAX_PROMPTS:
            return self.baseline
        rows = np.random.default_rng(self.seed).choice(num, _MAX_PROMPTS, replace=False)
        return dataclasses.replace(
            self.baseline,
            prompts=[self.baseline.prompts[row] for row in rows],
            vectors=self.baseline.vectors[rows],
        )

    @cached_property
    def novelty(self) -> NoveltyReference:
        """Beyond which distance a prompt is novel."""
        return NoveltyReference.of(self.vectors, rng=np.random.default_rng(self.seed))

    @cached_property
    def cells(self) -> Cells:
        """The parts of the map, and how the baseline is spread over them."""
        return Cells.of(self.vectors, rng=np.random.default_rng(self.seed))

    @cached_property
    def texts(self) -> TextReference:
        """The words, lengths, and languages of the baseline."""
        return TextReference(self.prompts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What is looked at of a day: prompts and their vectors in one order, and the answers given.

    Detectors that need texts are only asked for where there are texts.
    """

    vectors: np.ndarray
    prompts: Sequence[str] = ()
    responses: Sequence[str] = ()
