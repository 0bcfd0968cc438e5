"""Peers in environments of their own, and how they are asked: a process for each question."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_SCRIPTS = Path(__file__).parent / "drift_peers"
_MAX_GIGABYTES = 12
_MAX_SECONDS = 120

# With what they need and do not ask for: NannyML's import wants statsmodels, alibi-detect's MMD
# wants PyTorch, and Evidently does not import on pandas 3.1.
REQUIREMENTS = {
    "evidently": ("evidently==0.7.23", "pandas==3.0.6", "numpy==2.4.6"),
    "alibi": ("alibi-detect==0.13.0", "torch==2.13.0", "numpy==1.26.4"),
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0", "numpy==2.4.6", "pandas==3.1.1"),
    "frouros": ("frouros==0.9.0", "numpy==2.1.3"),
}


class Method(NamedTuple):
    """One detector of one library; a slow one is given fewer windows."""

    library: str
    name: str
    is_slow: bool = False

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return f"{self.library} {self.name}"


class Peers(NamedTuple):
    """The folder of the peers' environments."""

    folder: Path | None

    def python(self, library: str) -> Path | None:
        """Return the interpreter that has a library, or None; ours is the one that runs."""
        if library == "ours":
            return Path(sys.executable)
        python = self.folder / library / "bin" / "python" if self.folder else None
        return python if python is not None and python.exists() else None

    def available(self, methods: tuple[Method, ...]) -> list[Method]:
        """Return the methods that can be asked, and print which peers are missing."""
        missing = dict.fromkeys(m.library for m in methods if self.python(m.library) is None)
        if missing:
            print(f"Without {', '.join(missing)}: make them by --make-peers, name them by --peers.")
        return [method for method in methods if method.library not in missing]


def make_peers(folder: Path) -> None:
    """Make the peers' environments with what pip is configured to find."""
    for library, requirements in REQUIREMENTS.items():
        print(f"{library}: {' '.join(requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder / library], check=True)
        pip = [folder / library / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *requirements], check=True)


def speed(method: Method, baseline: Path, current: Path, *, peers: Peers) -> dict[str, Any] | str:
    """Return what one comparison costs in a fresh process, or why it did not end."""
    command = _command(method, "speed", baseline, current, _MAX_GIGABYTES, peers=peers)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=_MAX_SECONDS)
    except subprocess.TimeoutExpired:
        # Some start processes of their own.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"over {_MAX_SECONDS} s"
    if process.returncode == 0:
        return json.loads(out)
    is_memory = "MemoryError" in err or "allocate" in err or "memory" in err.lower()
    lines = err.strip().splitlines()
    return f"over {_MAX_GIGABYTES} GB" if is_memory else (lines[-1] if lines else "ended")


def verdicts(
    method: Method,
    vectors: Path,
    draws: Path,
    *,
    peers: Peers,
    on_verdict: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and decisions, shape (windows of all baselines,); nan is no decision."""
    command = _command(method, "score", vectors, draws, peers=peers)
    found: list[tuple[float, float]] = []
    with (
        (draws.parent / f"{method.label}.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            score, is_drifted = json.loads(line)
            found.append((score, np.nan if is_drifted is None else float(is_drifted)))
            on_verdict(len(found))
    if process.returncode:
        raise RuntimeError(f"{method.label} ended with {process.returncode}, see {log.name}")
    scores, decisions = np.array(found).T
    return scores, decisions


def _command(method: Method, *arguments: object, peers: Peers) -> list[str]:
    script = _SCRIPTS / f"with_{method.library}.py"
    python = peers.python(method.library)
    return [str(python), str(script), *map(str, (arguments[0], method.name, *arguments[1:]))]
