"""A container's processes on this machine, found by a mark in their environment.

A container's end is the end of all that runs in it, also of what started sessions of its own or
lost its parent. Without a process namespace only the inherited environment still tells where a
process belongs.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "EMULATED_CONTAINER"


def kill_all(mark: str) -> None:
    """Kill all processes that carry a mark, also those that come up meanwhile."""
    while processes := _processes(mark):
        for process_id in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(0.005)


def _processes(mark: str) -> list[int]:
    """Return the ids of living processes with a mark; a zombie has no environment any more."""
    entry = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found
