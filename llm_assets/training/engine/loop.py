"""One step of a training and one look at its loss, by one of the processes that share them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llm_assets.training.config import TrainingConfig
from llm_assets.training.engine.objectives import Objective, Scored
from llm_assets.training.engine.scoring import Examples, Forward, sequence_logps
from llm_assets.training.plan import num_micro_batches, share
from llm_assets.training.processes import Rank


@dataclass(kw_only=True)
class Loop:
    """DeepSpeed's engine, the examples, and what is minimised.

    `reference` holds the log probability of every sequence before the training, and is empty where
    the objective has no use for it.
    """

    engine: Any
    examples: Examples
    objective: Objective
    config: TrainingConfig
    rank: Rank
    reference: torch.Tensor

    def step(self, number: int, batch: Sequence[int], *, is_stopping: bool) -> tuple[float, bool]:
        """Take a step; return its loss, and whether any process has been told to stop.

        The loss is a mean over all units of the step, whoever computed them, so neither it nor its
        gradient depends on how the step was divided.
        """
        self.engine.train()
        if self.config.lora_dropout or self.config.neftune_noise_alpha:
            # What is drawn depends on the step alone, so a training that goes on draws the same.
            torch.manual_seed((self.config.seed << 32) + number * self.rank.world_size + self._rank)
        pieces = share(
            batch,
            rank=self._rank,
            world_size=self.rank.world_size,
            micro_batch_size=self._micro_batch_size,
        )
        num_units = self._num_units(batch)
        # DeepSpeed takes means over the pieces and the processes; ours is over the units.
        scale = len(pieces) * self.rank.world_size / num_units
        divergence = self._divergence(batch)
        total = torch.zeros(2, device=self.examples.inputs.device)
        for piece in pieces:
            loss = self._total(piece, divergence)
            self.engine.backward(loss * scale)
            self.engine.step()
            total[0] += loss.detach()
        total[1] = is_stopping
        summed, stopping = self._summed(total).tolist()
        return summed / num_units, bool(stopping)

    def mean_loss(self, numbers: Sequence[int]) -> float:
        """Return the mean loss of examples as the model is now; nan without any."""
        if not numbers:
            return float("nan")
        self.engine.eval()
        divergence = self._divergence(numbers)
        total = torch.zeros(1, device=self.examples.inputs.device)
        with torch.no_grad():
            for piece, is_own in self._pieces(numbers):
                total += is_own * self._total(piece, divergence)
        return self._summed(total).item() / self._num_units(numbers)

    def sequence_logps(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return the log probability of every sequence of examples as the model is now."""
        self.engine.eval()
        found = torch.zeros(
            len(self.examples.sequences(range(len(self.examples.examples)))),
            device=self.examples.inputs.device,
        )
        with torch.no_grad():
            for piece, is_own in self._pieces(numbers):
                logps, _ = sequence_logps(self._forward, self.examples, piece)
                found[self.examples.sequences(piece)] = is_own * logps
        return self._summed(found)

    @property
    def _forward(self) -> Forward:
        return self.engine

    @property
    def _rank(self) -> int:
        return self.rank.rank

    @property
    def _micro_batch_size(self) -> int:
        return self.config.compute.per_device_train_batch_size

    def _num_units(self, numbers: Sequence[int]) -> int:
        return sum(map(self.objective.num_units, self.examples.of(numbers)))

    def _total(self, piece: Sequence[int], divergence: torch.Tensor) -> torch.Tensor:
        logps, num_answer = sequence_logps(self._forward, self.examples, piece)
        reference = torch.zeros_like(logps)
        if self.objective.has_reference:
            reference = self.reference[self.examples.sequences(piece)]
        scored = Scored(logps, num_answer, reference)
        return self.objective.total(scored, self.examples.of(piece), divergence)

    def _divergence(self, numbers: Sequence[int]) -> torch.Tensor:
        """Return how far the model has moved by the mismatched answers of examples (see `kto`)."""
        total = torch.zeros(1, device=self.examples.inputs.device)
        if not self.objective.has_divergence:
            return total
        with torch.no_grad():
            for piece, is_own in self._pieces(numbers):
                logps, _ = sequence_logps(self._forward, self.examples, piece)
                moved = logps - self.reference[self.examples.sequences(piece)]
                total += is_own * moved[1::2].sum()
        return (self._summed(total) / len(numbers)).clamp(min=0)

    def _pieces(self, numbers: Sequence[int]) -> Iterator[tuple[Sequence[int], bool]]:
        """Yield as many micro-batches in every process, the last of them perhaps not its own.

        Weights that are in pieces are put together by all processes at once, so none may sit out.
        """
        number = num_micro_batches(
            len(numbers), world_size=self.rank.world_size, micro_batch_size=self._micro_batch_size
        )
        own = numbers[self._rank :: self.rank.world_size]
        for part in range(number):
            piece = own[part * self._micro_batch_size : (part + 1) * self._micro_batch_size]
            yield (piece, True) if piece else (numbers[:1], False)

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        if self.rank.world_size > 1:
            torch.distributed.all_reduce(values)
        return values
