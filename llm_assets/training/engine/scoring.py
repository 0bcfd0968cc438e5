"""Log probabilities of sequences: packed, run through the trained part, and summed by sequence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from llm_assets.training.engine.frozen import Inputs
from llm_assets.training.engine.packing import pack
from llm_assets.training.tokens import Example

Forward = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Examples:
    """Examples beside what the trained layers are given of their sequences.

    The sequences of all examples are numbered through; `firsts` holds the first of each example.
    """

    examples: Sequence[Example]
    inputs: Inputs
    firsts: Sequence[int]

    def of(self, numbers: Sequence[int]) -> list[Example]:
        """Return some of the examples."""
        return [self.examples[number] for number in numbers]

    def sequences(self, numbers: Sequence[int]) -> list[int]:
        """Return the numbers of the sequences of some of the examples, in their order."""
        return [
            self.firsts[number] + part
            for number in numbers
            for part in range(len(self.examples[number].sequences))
        ]


def token_logps(
    forward: Forward, examples: Examples, numbers: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log probability of every learnt token, and how many each sequence has.

    Their shapes are (tokens,) and (sequences,); the tokens follow in the order of sequences.
    """
    inputs = examples.inputs
    rows = [row for example in examples.of(numbers) for row in example.sequences]
    packed = pack(inputs.prefix, inputs.rests(examples.sequences(numbers)))
    sequences, places, targets = [], [], []
    for row, (sequence, begin) in zip(rows, packed.places, strict=True):
        first = begin + row.num_prompt - len(inputs.prefix)
        sequences += [sequence] * row.num_answer
        places += range(first - 1, first - 1 + row.num_answer)  # each predicts the one after it
        targets += row.ids[row.num_prompt :]
    device = inputs.device
    logps = forward(
        values=packed.values,
        mask=packed.mask,
        position_ids=packed.position_ids,
        places=(torch.tensor(sequences, device=device), torch.tensor(places, device=device)),
        targets=torch.tensor(targets, device=device),
    )
    return logps, torch.tensor([row.num_answer for row in rows], device=device)


def sequence_logps(
    forward: Forward, examples: Examples, numbers: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed log probability of each sequence, and its number of learnt tokens."""
    logps, num_answer = token_logps(forward, examples, numbers)
    owners = torch.repeat_interleave(torch.arange(len(num_answer), device=logps.device), num_answer)
    totals = torch.zeros(len(num_answer), device=logps.device).index_add(0, owners, logps)
    return totals, num_answer
