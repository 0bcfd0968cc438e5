"""What a step minimises, by method: from log probabilities of sequences to a sum to divide."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from llm_assets.training.config import Method, TrainingConfig
from llm_assets.training.engine import losses
from llm_assets.training.tokens import Example


class Scored(NamedTuple):
    """The sequences of a micro-batch: log probability, number of answer tokens, each (sequences,).

    Those of one example follow one another. `reference` is the log probability before the training
    and zero where the objective has no use for it.
    """

    logps: torch.Tensor
    num_answer: torch.Tensor
    reference: torch.Tensor


class Objective(Protocol):
    """A loss that is a mean over units: over tokens, rows, or pairs."""

    has_reference: bool
    has_divergence: bool

    def num_units(self, example: Example) -> int:
        """Return over how many units the mean of an example's loss goes."""
        ...

    def total(
        self, scored: Scored, examples: Sequence[Example], divergence: torch.Tensor
    ) -> torch.Tensor:
        """Return the sum of the losses of a micro-batch, a scalar."""
        ...


def objective_of(config: TrainingConfig) -> Objective:
    """Return the objective of a method."""
    match config.method:
        case Method.SFT | Method.PRETRAINING:
            return _Likelihood()
        case Method.DPO:
            return _Dpo(config.beta)
        case Method.ORPO:
            return _Orpo(config.beta)
        case Method.KTO:
            return _Kto(config)


class _Likelihood:
    """The cross entropy of the learnt tokens; every token counts the same."""

    has_reference = False
    has_divergence = False

    def num_units(self, example: Example) -> int:
        return example.num_answer

    def total(
        self, scored: Scored, examples: Sequence[Example], divergence: torch.Tensor
    ) -> torch.Tensor:
        return -scored.logps.sum()


class _OfRows:
    """What the objectives share that set sequences against each other: an example is a unit."""

    has_reference = True
    has_divergence = False

    def num_units(self, example: Example) -> int:
        return 1


class _Dpo(_OfRows):
    def __init__(self, beta: float) -> None:
        self._beta = beta

    def total(
        self, scored: Scored, examples: Sequence[Example], divergence: torch.Tensor
    ) -> torch.Tensor:
        chosen, rejected = scored.logps.unflatten(0, (-1, 2)).unbind(1)
        reference = scored.reference.unflatten(0, (-1, 2)).unbind(1)
        return losses.dpo(chosen, rejected, *reference, beta=self._beta).sum()


class _Orpo(_OfRows):
    has_reference = False

    def __init__(self, beta: float) -> None:
        self._beta = beta

    def total(
        self, scored: Scored, examples: Sequence[Example], divergence: torch.Tensor
    ) -> torch.Tensor:
        chosen, rejected = (scored.logps / scored.num_answer).unflatten(0, (-1, 2)).unbind(1)
        return losses.orpo(chosen, rejected, beta=self._beta).sum()


class _Kto(_OfRows):
    has_divergence = True

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config

    def total(
        self, scored: Scored, examples: Sequence[Example], divergence: torch.Tensor
    ) -> torch.Tensor:
        own, _ = scored.logps.unflatten(0, (-1, 2)).unbind(1)
        reference, _ = scored.reference.unflatten(0, (-1, 2)).unbind(1)
        is_desirable = torch.tensor([e.is_desirable for e in examples], device=own.device)
        return losses.kto(
            own,
            reference,
            is_desirable,
            divergence,
            beta=self._config.beta,
            desirable_weight=self._config.desirable_weight,
            undesirable_weight=self._config.undesirable_weight,
        ).sum()
