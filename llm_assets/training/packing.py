"""Rows that begin alike share a sequence: their common beginning is computed once for all.

A packed sequence is the common beginning followed by the rest of one row after the other. Every
token sees the beginning and the earlier tokens of its own row and has the position that it has in
its row, so a row comes out as if it were alone. With a system prompt of 50 tokens and questions of
15, three quarters of the work of a batch disappear, and nearly all padding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from llm_assets.training.rows import TokenRow

if TYPE_CHECKING:
    import torch

# Attention costs the square of a sequence's length: rows share sequences of up to so many tokens,
# and a row that is longer has one for itself.
SEQUENCE_TOKENS = 512


class Packed(NamedTuple):
    """Sequences ready for a model of the llama architecture.

    `values` are token ids or hidden states, (sequences, tokens, ...); `mask` is true where a token
    sees another, (sequences, 1, tokens, tokens); `places` tells for each row which sequence it is
    in and where its rest begins there.
    """

    values: "torch.Tensor"
    position_ids: "torch.Tensor"
    mask: "torch.Tensor"
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
    """Distribute rows over sequences by first fit, the longest row first.

    >>> share([3, 9, 4, 1], capacity=8)
    [[1], [2, 0, 3]]
    """
    sequences: list[list[int]] = []
    free: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        fits = (number for number, room in enumerate(free) if lengths[row] <= room)
        number = next(fits, len(sequences))
        if number == len(sequences):
            sequences.append([])
            free.append(capacity)
        sequences[number].append(row)
        free[number] -= lengths[row]
    return sequences


def pack(
    prefix: "torch.Tensor", rests: "Sequence[torch.Tensor]", *, tokens: int = SEQUENCE_TOKENS
) -> Packed:
    """Pack the rests of rows behind their common prefix; the first dimension is the tokens'."""
    import torch

    start = len(prefix)
    sequences = share([len(rest) for rest in rests], capacity=max(0, tokens - start))
    places = [(0, 0)] * len(rests)
    values, positions, owners = [], [], []
    for number, members in enumerate(sequences):
        parts = [rests[row] for row in members]
        ends = torch.tensor([start, *map(len, parts)]).cumsum(0).tolist()
        for row, begin in zip(members, ends[:-1], strict=True):
            places[row] = (number, begin)
        values.append(torch.cat([prefix, *parts]))
        positions.append(
            torch.cat([torch.arange(start), *(torch.arange(len(p)) + start for p in parts)])
        )
        owners.append(
            torch.repeat_interleave(
                torch.arange(len(parts) + 1), torch.tensor([start, *map(len, parts)])
            )
        )
    stack = torch.nn.utils.rnn.pad_sequence
    # Padding is a row of its own: it sees itself, since a softmax over nothing is not a number.
    owner = stack(owners, batch_first=True, padding_value=-1)
    own_or_prefix = (owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == 0)
    return Packed(
        values=stack(values, batch_first=True),
        position_ids=stack(positions, batch_first=True),
        mask=own_or_prefix.tril()[:, None],
        places=places,
    )
