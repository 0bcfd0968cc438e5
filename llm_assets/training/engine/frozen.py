"""What the frozen layers make of rows: computed once, kept on disk up to a bound.

The lower layers never change, so the upper ones train on their states in any number of epochs, and
a training that goes on after an interruption finds them again. Sequences that all begin alike have
the states of their common beginning once.
"""

import copy
import hashlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llm_assets.training.engine.packing import common_prefix, pack
from llm_assets.training.processes import Rank
from llm_assets.training.tokens import TokenRow
from llm_assets.training.work_folder import STATES


class Inputs:
    """What the trained layers are given of each sequence, its common beginning apart.

    With frozen layers these are states, tokens by hidden size, otherwise token ids.
    """

    def __init__(self, sequences: Sequence[TokenRow], *, device: torch.device) -> None:
        num_prefix = common_prefix(sequences)
        self.device = device
        self.prefix = torch.tensor(sequences[0].ids[:num_prefix], dtype=torch.long, device=device)
        self._rests = [
            torch.tensor(row.ids[num_prefix:], dtype=torch.long, device=device) for row in sequences
        ]

    def rests(self, numbers: Sequence[int]) -> list[torch.Tensor]:
        """Return what follows the common beginning in some of the sequences."""
        return [self._rests[number] for number in numbers]


class FrozenInputs(Inputs):
    """States of the lowest layers. What does not fit into the bound is computed at each use."""

    def __init__(
        self,
        sequences: Sequence[TokenRow],
        model: Any,
        *,
        num_layers: int,
        folder: Path,
        max_bytes: float,
        rank: Rank,
        batch_size: int,
        device: torch.device,
    ) -> None:
        super().__init__(sequences, device=device)
        self._prefix_ids = self.prefix
        self._decoder = _lowest(model.get_decoder(), num_layers)
        self.prefix, _ = self._compute(self._rests[:1])
        self._token_bytes = self.prefix.shape[-1] * self.prefix.element_size()
        ends = list(itertools.accumulate(len(rest) for rest in self._rests))
        self.num_kept = sum(end * self._token_bytes <= max_bytes for end in ends)
        num_tokens = ends[self.num_kept - 1] if self.num_kept else 0
        self._bounds = list(itertools.pairwise([0, *ends[: self.num_kept]]))
        key = _key(sequences, model, num_layers, self.num_kept)
        path = folder / STATES.format(key=key)
        if not path.exists():
            self._make(path, num_tokens, rank=rank, batch_size=batch_size)
        self._kept = self._open(path, num_tokens)
        if self.num_kept == len(sequences):
            del self._decoder  # frees the lower layers

    def _make(self, path: Path, num_tokens: int, *, rank: Rank, batch_size: int) -> None:
        """Let each process compute its part into one file."""
        temporary = path.with_suffix(".bin.tmp")
        if rank.rank == 0:
            # The states of other rows, which nothing will ask for again.
            for stale in path.parent.glob(STATES.format(key="*") + "*"):
                stale.unlink()
            with temporary.open("wb") as file:
                file.truncate(max(1, num_tokens * self._token_bytes))
        _barrier(rank)
        kept = self._open(temporary, num_tokens)
        step = rank.world_size * batch_size
        for start in range(rank.rank * batch_size, self.num_kept, step):
            batch = range(start, min(start + batch_size, self.num_kept))
            _, states = self._compute([self._rests[number] for number in batch])
            for number, state in zip(batch, states, strict=True):
                kept[slice(*self._bounds[number])] = state.to("cpu")
        _barrier(rank)
        if rank.rank == 0:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        _barrier(rank)

    def __str__(self) -> str:
        size = self._kept.numel() * self._kept.element_size() / 1e6
        return f"states of {self.num_kept} of {len(self._rests)} sequences are kept, {size:.1f} MB"

    def rests(self, numbers: Sequence[int]) -> list[torch.Tensor]:
        """Return the states behind the common beginning of some of the sequences."""
        missing = [number for number in numbers if number >= self.num_kept]
        computed: list[torch.Tensor] = []
        if missing:
            _, computed = self._compute([self._rests[number] for number in missing])
        found = dict(zip(missing, computed, strict=True))
        return [
            found[number]
            if number in found
            else self._kept[slice(*self._bounds[number])].to(self.device, non_blocking=True)
            for number in numbers
        ]

    def _compute(self, rests: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        packed = pack(self._prefix_ids, rests)
        with torch.no_grad():
            hidden = self._decoder(
                input_ids=packed.values,
                attention_mask=packed.mask,
                position_ids=packed.position_ids,
            ).last_hidden_state
        states = [
            hidden[sequence, begin : begin + len(rest)].clone()
            for rest, (sequence, begin) in zip(rests, packed.places, strict=True)
        ]
        return hidden[0, : len(self._prefix_ids)].clone(), states

    def _open(self, path: Path, num_tokens: int) -> torch.Tensor:
        width = self.prefix.shape[-1]
        kept = torch.from_file(
            str(path), shared=True, size=num_tokens * width, dtype=self.prefix.dtype
        )
        return kept.view(num_tokens, width)


def _lowest(decoder: Any, num_layers: int) -> Any:
    """Return a decoder of the lowest layers of another one; they share their weights."""
    lowest = copy.copy(decoder)
    lowest._modules = dict(decoder._modules)
    lowest.layers = torch.nn.ModuleList(list(decoder.layers)[:num_layers])
    lowest.norm = torch.nn.Identity()
    return lowest


def _key(sequences: Sequence[TokenRow], model: Any, num_layers: int, num_kept: int) -> str:
    weights = next(model.get_decoder().parameters())
    content = hashlib.sha256(
        f"{model.config.to_json_string()} {weights.dtype} {weights.sum().item()} "
        f"{num_layers} {num_kept} {torch.__version__}".encode()
    )
    for sequence in sequences:
        content.update(str(tuple(sequence.ids)).encode())
    return content.hexdigest()[:16]


def _barrier(rank: Rank) -> None:
    if rank.world_size > 1:
        torch.distributed.barrier()
