"""How a library's detectors are asked: a process of its own, vectors in files, JSON lines out.

It runs in the environment of each library, so it needs numpy and nothing else.

    python with_x.py speed METHOD BASELINE.npy CURRENT.npy MAX_GIGABYTES
    python with_x.py score METHOD VECTORS.npy DRAWS.npz

`speed` prints what one comparison cost, fitting included, imports and reading the files not.
`score` prints one verdict for each window of each baseline. DRAWS holds rows of VECTORS:
`baselines` of shape (baselines, m) and `windows` of shape (baselines, windows, n).
"""

import contextlib
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

_WARM_UP = 400


class Verdict(NamedTuple):
    """A score that grows with the change, and the library's own decision, None if it has none."""

    score: float
    is_drifted: bool | None


Compare = Callable[[np.ndarray], Verdict]
Fit = Callable[[np.ndarray, int], Compare]
"""Takes a baseline and the size of the windows, and returns what judges a window."""


def main(load: Callable[[], Mapping[str, Fit]]) -> None:
    """Answer the command line; `load` imports the library."""
    command, method, *rest = sys.argv[1:]
    # What a library prints must not come between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    started = time.perf_counter()
    fit = load()[method]
    import_seconds = time.perf_counter() - started
    with contextlib.closing(answers):
        if command == "speed":
            cost = _speed(fit, *rest)
            answers.write(json.dumps({**cost, "import_seconds": import_seconds}) + "\n")
        else:
            _score(fit, *rest, write=answers.write)


def _speed(
    fit: Fit, baseline_file: str, current_file: str, max_gigabytes: str
) -> dict[str, object]:
    limit = int(float(max_gigabytes) * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    baseline, current = np.load(baseline_file), np.load(current_file)
    # Some libraries import or compile more when they are first used.
    fit(baseline[:_WARM_UP], _WARM_UP // 4)(current[: _WARM_UP // 4])
    cpu, wall = _cpu_seconds(), time.perf_counter()
    verdict = fit(baseline, len(current))(current)
    return {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": _cpu_seconds() - cpu,
        "peak_megabytes": _peak_megabytes(),
        "score": float(verdict.score),
    }


def _peak_megabytes() -> float:
    """Return the most memory that was resident; `ru_maxrss` would count the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1024


def _cpu_seconds() -> float:
    """Return what all threads and all finished children have used."""
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(user)[:2]) for user in users)


def _score(fit: Fit, vectors_file: str, draws_file: str, *, write: Callable[[str], object]) -> None:
    vectors, draws = np.load(vectors_file), np.load(draws_file)
    for rows, windows in zip(draws["baselines"], draws["windows"], strict=True):
        compare = fit(vectors[rows], windows.shape[1])
        for window in windows:
            score, is_drifted = compare(vectors[window])
            decision = None if is_drifted is None else bool(is_drifted)
            write(json.dumps([float(score), decision]) + "\n")
