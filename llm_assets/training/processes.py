"""Which of several processes this one is, and what they owe each other."""

import ctypes
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from llm_assets.errors import UserError

# The names that torchrun and Open MPI give to the same three numbers.
_NAMES = (
    ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
)
SUPERVISOR_VARIABLE = "LLM_ASSETS_TRAINING_SUPERVISOR"

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a process among those that train together.

    `rendezvous` is how they find each other, as `torch.distributed` reads it: a file that all of
    them see, or the address of rank 0.
    """

    rank: int
    local_rank: int
    world_size: int
    rendezvous: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Return what a launcher's environment says, or None where there was no launcher.

        Raises:
            UserError: the launcher did not say where rank 0 is.
        """
        for names in _NAMES:
            if names[0] not in environment:
                continue
            rank, local_rank, world_size = (int(environment[name]) for name in names)
            rendezvous = environment.get("LLM_ASSETS_RENDEZVOUS")
            if rendezvous is None:
                for name in ("MASTER_ADDR", "MASTER_PORT"):
                    if name not in environment:
                        raise UserError(f"{name}: must name where rank 0 is, beside {names[0]}")
                rendezvous = f"tcp://{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
            return cls(
                rank=rank, local_rank=local_rank, world_size=world_size, rendezvous=rendezvous
            )
        return None

    def environment(self) -> dict[str, str]:
        """Return the variables by which `of` gives this back."""
        values = (self.rank, self.local_rank, self.world_size)
        return {
            **dict(zip(_NAMES[0], map(str, values), strict=True)),
            "LLM_ASSETS_RENDEZVOUS": self.rendezvous,
        }


def die_with_parent(number: signal.Signals, *, parent: int) -> None:
    """Let the kernel send this process a signal when its parent is gone, however it went."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it was gone before it could be asked for
        os.kill(os.getpid(), number)
