"""What a training cost, measured in the process that trains, and asking such a process for it."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from llm_assets.training.compute import ComputeConfig
from llm_assets.training.launch import worker_environment

_COST = "cost.json"


class Usage(NamedTuple):
    """What this process has used until now: CPU seconds of all its threads, and the clock."""

    cpu_seconds: float
    wall_seconds: float

    @classmethod
    def now(cls) -> Self:
        """Return what it is at this moment."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return cls(usage.ru_utime + usage.ru_stime, time.monotonic())

    def since(self, earlier: "Usage") -> "Usage":
        """Return what was used between two looks."""
        return Usage(*(new - old for new, old in zip(self, earlier, strict=True)))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was trained on, and what that took without loading the model and the libraries.

    `num_tokens` are those of the rows, prompts and answers, without padding, and every time that
    they are seen. `frozen_cpu_seconds` went into what the frozen layers make of the rows, and are
    part of `cpu_seconds`.
    """

    num_steps: int
    num_tokens: int
    num_answer_tokens: int
    cpu_seconds: float
    wall_seconds: float
    frozen_cpu_seconds: float = 0.0
    peak_megabytes: float = 0.0

    @property
    def tokens_per_cpu_second(self) -> float:
        """The speed that is compared."""
        return self.num_tokens / self.cpu_seconds

    def write(self, folder: Path) -> None:
        """Leave it where `ask` looks for it, with the most memory that this process had."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        content = {**asdict(self), "peak_megabytes": peak}
        (folder / _COST).write_text(json.dumps(content))


def ask(script: str, *arguments: object, folder: Path, is_ours: bool = False) -> Cost:
    """Let a script of this folder train in a process of its own, with one thread.

    Raises:
        RuntimeError: it failed; the message holds its last line and where the others are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run(script, *arguments, folder, log=folder / "log", is_ours=is_ours)
    return Cost(**json.loads((folder / _COST).read_text()))


def environment(*, is_ours: bool) -> dict[str, str]:
    """Return the variables of a process that trains with one thread."""
    variables = dict(worker_environment(ComputeConfig(num_threads=1)))
    if not is_ours:
        del variables["MKL_CBWR"]  # makes ours repeatable, and would cost peers a few percent
    return variables


def run(script: str, *arguments: object, log: Path, is_ours: bool) -> None:
    """Run a script of this folder with one thread.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-W", "ignore", Path(__file__).with_name(script), *arguments]
    with log.open("w") as output:
        finished = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **environment(is_ours=is_ours)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if finished.returncode:
        last = (log.read_text().strip().splitlines() or ["nothing said"])[-1]
        raise RuntimeError(f"{script} ended with {finished.returncode}, see {log}: {last}")


def main(train: Callable[..., Cost]) -> None:
    """Be the script that `ask` runs: arguments, then the folder for what comes of them."""
    *arguments, folder = sys.argv[1:]
    rest: list[Any] = list(arguments)
    train(*rest, Path(folder)).write(Path(folder))
