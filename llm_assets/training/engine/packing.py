"""Rows that begin alike share a sequence: their common beginning is computed once for all.

A packed sequence is the common beginning followed by the rest of one row after the other. Every
token sees the beginning and the earlier tokens of its own row and has the position that it has in
its row, so a row comes out as if it were alone. With a system prompt of 50 tokens and questions of
15, three quarters of the work of a batch disappear, and nearly all padding.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch

from llm_assets.training.tokens import TokenRow

# Attention costs the square of a sequence's length: rows share sequences of up to so many tokens,
# or of as many as the longest of them has.
SEQUENCE_TOKENS = 384


class Packed(NamedTuple):
    """Sequences ready for a model of the llama architecture.

    `values` are token ids or hidden states, (sequences, tokens, ...); `mask` is true where a token
    sees another, (sequences, 1, tokens, tokens), and None where it sees all before it; `places`
    tells for each row which sequence it is in and where its rest begins there.
    """

    values: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor | None
    places: list[tuple[int, int]]


def common_prefix(rows: Sequence[TokenRow]) -> int:
    """Return how many tokens all rows begin with, at most the prompt less its last token.

    The last token of a prompt predicts the first token of the answer, so it stays with its row.
    """
    if not rows:
        return 0
    num_shared = min(row.num_prompt for row in rows) - 1
    for position in range(num_shared):
        if any(row.ids[position] != rows[0].ids[position] for row in rows):
            return position
    return num_shared


def share(lengths: Sequence[int], *, capacity: int) -> list[list[int]]:
    """Distribute rows over as few sequences as hold them, all of them about as long.

    What a batch takes is its longest sequence times their number: with one that is nearly empty
    beside full ones, half of it would be padding.

    >>> share([3, 9, 4, 1], capacity=8)
    [[1], [2], [0, 3]]
    """
    number = min(len(lengths), -(-sum(lengths) // max(1, capacity)))
    while True:
        sequences = _evenly(lengths, number)
        if all(len(rows) < 2 or sum(lengths[r] for r in rows) <= capacity for rows in sequences):
            return sequences
        number += 1


def _evenly(lengths: Sequence[int], number: int) -> list[list[int]]:
    """Give each row, the longest first, to the sequence that is the shortest then."""
    sequences: list[list[int]] = [[] for _ in range(number)]
    totals = [0] * number
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        shortest = totals.index(min(totals))
        sequences[shortest].append(row)
        totals[shortest] += lengths[row]
    return sequences


def pack(
    prefix: torch.Tensor, rests: Sequence[torch.Tensor], *, tokens: int = SEQUENCE_TOKENS
) -> Packed:
    """Pack the rests of rows behind their common prefix; the first dimension is the tokens'."""
    start, device = len(prefix), rests[0].device
    capacity = max(tokens - start, *map(len, rests))
    sequences = share([len(rest) for rest in rests], capacity=capacity)
    places = [(0, 0)] * len(rests)
    values, positions, owners = [], [], []
    for number, members in enumerate(sequences):
        parts = [rests[row] for row in members]
        lengths = [start, *map(len, parts)]
        for row, end, length in zip(
            members, itertools.accumulate(lengths[1:]), lengths[1:], strict=True
        ):
            places[row] = (number, start + end - length)
        values.append(torch.cat([prefix, *parts]))
        positions.append(
            torch.cat([torch.arange(start), *(torch.arange(n) + start for n in lengths[1:])])
        )
        owners.append(torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)))
    stack = torch.nn.utils.rnn.pad_sequence
    # Padding is a row of its own: it sees itself, since a softmax over nothing is not a number.
    owner = stack(owners, batch_first=True, padding_value=-1).to(device)
    position_ids = stack(positions, batch_first=True)
    is_plain = not start and len(sequences) == len(rests)
    if is_plain:
        # Padding goes on counting: transformers takes a step back for the beginning of another row
        # and makes a mask, and with a mask there is no flash attention.
        position_ids = torch.arange(owner.shape[1]).expand(owner.shape)
    return Packed(
        values=stack(values, batch_first=True),
        position_ids=position_ids.to(device),
        mask=None if is_plain else _mask(owner),
        places=places,
    )


def _mask(owner: torch.Tensor) -> torch.Tensor:
    own_or_prefix = (owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == 0)
    return own_or_prefix.tril()[:, None]
