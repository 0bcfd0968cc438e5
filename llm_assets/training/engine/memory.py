"""How much memory a process uses: of its GPU where it has one, else of the machine."""

import resource
from pathlib import Path

import torch


def memory_bytes() -> int:
    """Return how much is used now."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    num_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return num_pages * resource.getpagesize()


def peak_memory_bytes() -> int:
    """Return the most that was used at a time."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
