"""What orchestration adds to a training: the worker under Dagster Pipes beside the bare loop.

The worker has its supervisor, tells every step, and writes checkpoints; the bare loop takes the
same steps of the same job. Both are watched from outside, by what they and their processes have
used when one of the first steps and when the last one is told.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from training_cost import environment
from training_data import BATCH_SIZE, Workplace

from llm_assets.training.job import TrainingJob
from llm_assets.training.launch import worker_command

_GOAL = 0.03
_SAVE_STEPS = 25
_NUM_STEPS = 2 * _SAVE_STEPS + 1  # two checkpoints lie between the first step and the last
_POLL_SECONDS = 0.02


class Steps(NamedTuple):
    """What the steps took; `other_cpu_seconds` are those of processes that only look on."""

    cpu_seconds: float
    wall_seconds: float
    other_cpu_seconds: float


class Repetition(NamedTuple):
    """The same steps bare and orchestrated."""

    bare: Steps
    orchestrated: Steps

    @property
    def cpu_overhead(self) -> float:
        """What orchestration adds, as a share of the bare steps."""
        return self.orchestrated.cpu_seconds / self.bare.cpu_seconds - 1

    @property
    def other_cpu_overhead(self) -> float:
        """The part of it that is Dagster's and the supervisor's own."""
        return self.orchestrated.other_cpu_seconds / self.bare.cpu_seconds

    @property
    def wall_overhead(self) -> float:
        """The same of the time that passes."""
        return self.orchestrated.wall_seconds / self.bare.wall_seconds - 1


def measure_overhead(workplace: Workplace, *, num: int) -> dict[str, Any]:
    """Print what repetitions took, bare and orchestrated in turn, and the median overhead."""
    job = workplace.job(
        "helpdesk-overhead",
        workplace.pairs("helpdesk"),
        max_steps=_NUM_STEPS,
        train_batch_size=BATCH_SIZE,
        eval_steps=_NUM_STEPS + 1,
        compute={"num_threads": 1, "save_steps": _SAVE_STEPS},
    )
    folder = job.rows_file.parent
    job_file = folder / "job.json"
    job.write(job_file)
    print(
        f"\n{_NUM_STEPS - 1} steps, a checkpoint every {_SAVE_STEPS}{'':9}{'CPU s':>9}{'wall s':>9}"
    )
    repetitions = []
    for number in range(num):
        # Each goes first as often as the other.
        order = (_bare, _orchestrated) if number % 2 == 0 else (_orchestrated, _bare)
        used = {run: run(job, job_file, folder) for run in order}
        repetitions.append(Repetition(used[_bare], used[_orchestrated]))
        for label, steps in zip(("bare", "orchestrated"), repetitions[-1], strict=True):
            print(f"  {label:32}{steps.cpu_seconds:9.2f}{steps.wall_seconds:9.2f}", flush=True)
    overheads = {
        "CPU": [r.cpu_overhead for r in repetitions],
        "CPU of other processes": [r.other_cpu_overhead for r in repetitions],
        "wall": [r.wall_overhead for r in repetitions],
    }
    for name, values in overheads.items():
        median = statistics.median(values)
        verdict = "is under" if median < _GOAL else "MISSES"
        spread = f"{min(values):+.1%} to {max(values):+.1%}, n={num}"
        print(f"  {name + ' overhead':32}{median:+9.1%} ({spread}) {verdict} {_GOAL:.0%}")
    return {"overheads": overheads, "goal": _GOAL}


def _bare(job: TrainingJob, job_file: Path, folder: Path) -> Steps:
    script = Path(__file__).with_name("training_with_ours.py")
    log = folder / "bare.log"

    def step_of(line: str) -> int | None:
        return int(line.split()[1].split("/")[0]) if line.startswith("step ") else None

    command = [sys.executable, "-W", "ignore", script, job_file, folder / "bare"]
    (folder / "bare").mkdir(exist_ok=True)
    with _running(command, log) as process:
        return _steps(process, log, step_of)


def _orchestrated(job: TrainingJob, job_file: Path, folder: Path) -> Steps:
    messages = folder / "messages"
    messages.unlink(missing_ok=True)
    for before in (job.output_dir, job.work_dir):
        shutil.rmtree(before, ignore_errors=True)

    def step_of(line: str) -> int | None:
        message = json.loads(line)
        is_own = message["method"] == "report_custom_message"
        payload = message["params"]["payload"] if is_own else {}
        return payload["step"]["step"] if "step" in payload else None

    command = [sys.executable, "-W", "ignore", __file__, job_file, messages]
    with _running(command, folder / "orchestrated.log") as process:
        return _steps(process, messages, step_of)


@contextmanager
def _running(command: list[Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    log.unlink(missing_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **environment(is_ours=True)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.wait()


def _steps(
    process: subprocess.Popen[bytes], file: Path, step_of: Callable[[str], int | None]
) -> Steps:
    """Return what a process and its descendants used from the end of the first step to the last."""
    looks: list[tuple[float, dict[int, float]]] = []
    for line in _lines_of(process, file):
        step = step_of(line)
        if step in (1, _NUM_STEPS):
            looks.append((time.monotonic(), _cpu_seconds_of_tree(process.pid)))
        if step == _NUM_STEPS:
            (began, before), (ended, after) = looks
            used = sorted(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
            return Steps(sum(used), ended - began, sum(used[:-1]))
    raise RuntimeError(f"{process.args} ended with {process.returncode} before its last step")


def _lines_of(process: subprocess.Popen[bytes], file: Path) -> Iterator[str]:
    """Yield the lines of a file as a process appends them, until it ends."""
    while not file.exists() and process.poll() is None:
        time.sleep(_POLL_SECONDS)
    rest = ""
    with file.open() as content:
        while process.poll() is None:
            *lines, rest = (rest + content.read()).split("\n")
            yield from lines
            time.sleep(_POLL_SECONDS)


def _cpu_seconds_of_tree(root: int) -> dict[int, float]:
    """Return the CPU seconds of a process and all its descendants by process."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
        ticks[int(path.parent.name)] = sum(map(int, fields[11:13]))
    tree, fresh = {root}, {root}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh}
        tree |= fresh
    return {pid: ticks[pid] / os.sysconf("SC_CLK_TCK") for pid in tree if pid in ticks}


def orchestrate(job_file: Path, messages: Path) -> None:
    """Be Dagster: launch the worker through Pipes, as the platform does."""

    @dg.asset
    def trained(
        context: dg.AssetExecutionContext, pipes: dg.ResourceParam[dg.PipesSubprocessClient]
    ) -> None:
        pipes.run(context=context, command=worker_command(job_file))

    reader = dg.PipesFileMessageReader(str(messages))
    dg.materialize([trained], resources={"pipes": dg.PipesSubprocessClient(message_reader=reader)})


if __name__ == "__main__":
    orchestrate(Path(sys.argv[1]), Path(sys.argv[2]))
