"""Starts the processes that train, and starts them again when one of them dies.

It imports nothing heavy and computes nothing, so it is what survives: it keeps the connection to
the orchestrator, holds the lock of the work folder, so that nobody else trains the same version at
the same time, and takes its processes with it when it goes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.storage import locked
from llm_assets.training.job import TrainingJob
from llm_assets.training.launch import worker_command
from llm_assets.training.processes import SUPERVISOR_VARIABLE, Rank
from llm_assets.training.progress import EVENTS_VARIABLE, Reporter, relay

# How long processes may take to write a checkpoint when they are told to stop.
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
# How the line begins by which a process says that the user must act.
_REFUSAL = "error: "


class ProcessesDied(Exception):  # noqa: N818 - it says what happened
    """Processes that train died of a signal or an error of their own, more often than allowed."""


def supervise(job: TrainingJob, job_file: Path, reporter: Reporter) -> None:
    """Train a job in processes of its own; what is finished already stays as it is.

    Raises:
        UserError: the processes refused the job.
        ProcessesDied: they died more than `max_restarts` times.
    """
    restarts_left = job.config.compute.max_restarts
    with locked(job.work_dir / "lock", alone=True):
        while (ended := _attempt(job, job_file, reporter)) is not None:
            if not restarts_left:
                raise ProcessesDied(ended)
            restarts_left -= 1
            reporter.say(f"{ended}; starting again from the last checkpoint")


def _attempt(job: TrainingJob, job_file: Path, reporter: Reporter) -> str | None:
    """Run all processes once; return how the first that failed ended, None if none did."""
    num_kills = _num_out_of_memory_kills()
    with (
        tempfile.TemporaryDirectory(prefix="llm-assets-ranks-") as folder,
        _started(job, job_file, Path(folder)) as group,
    ):
        failed = group.wait(reporter)
        if failed is None:
            return None
        code, last_line = group.processes[failed].returncode, group.last_line(failed)
        refusal = group.refusal(failed)
    if code == 1 and refusal is not None:
        raise UserError(refusal)
    if code < 0:
        is_out_of_memory = _num_out_of_memory_kills() > num_kills
        why = ": the machine ran out of memory" if is_out_of_memory else ""
        return f"rank {failed} was ended by {signal.Signals(-code).name}{why}"
    return f"rank {failed} failed with exit code {code}: {last_line}"


@dataclass(frozen=True)
class _Group:
    """The running processes of one attempt, and where rank 0 tells what it does."""

    processes: Sequence[subprocess.Popen[bytes]]
    events: int
    folder: Path

    def wait(self, reporter: Reporter) -> int | None:
        """Relay what is told until all have ended; return the first that failed."""
        os.set_blocking(self.events, False)
        rest = b""
        while True:
            codes = [process.poll() for process in self.processes]
            *lines, rest = (rest + self._told()).split(b"\n")
            for line in lines:
                relay(line.decode(), reporter)
            failed = [rank for rank, code in enumerate(codes) if code]
            if failed:
                # The others fail after the one that was killed, because it answers no more.
                return min(failed, key=lambda rank: codes[rank] or 0)
            if all(code == 0 for code in codes):
                return None
            time.sleep(_POLL_SECONDS)

    def _told(self) -> bytes:
        told = b""
        try:
            while piece := os.read(self.events, 1 << 16):
                told += piece
        except BlockingIOError:
            pass
        return told

    def last_line(self, rank: int) -> str:
        """Return the last line that a process wrote to its standard error."""
        return (self.errors(rank).strip().splitlines() or [""])[-1]

    def refusal(self, rank: int) -> str | None:
        """Return what a process said that the user must do; libraries may warn behind it."""
        lines = [line for line in self.errors(rank).splitlines() if line.startswith(_REFUSAL)]
        return lines[-1].removeprefix(_REFUSAL) if lines else None

    def errors(self, rank: int) -> str:
        """Return what a process wrote to its standard error."""
        return (self.folder / f"{rank}.err").read_text(errors="replace")

    def stop(self, *, seconds: float) -> None:
        """Let the processes write a checkpoint and end; kill what takes longer."""
        if seconds:
            for process in self.processes:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        for process in self.processes:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _started(job: TrainingJob, job_file: Path, folder: Path) -> Iterator[_Group]:
    reading, writing = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    group = _Group(processes, reading, folder)
    seconds = 0.0
    try:
        for rank in range(job.config.compute.num_processes):
            processes.append(_start(rank, job, job_file, folder, events=writing))
        os.close(writing)
        yield group
    except (SystemExit, KeyboardInterrupt):
        seconds = _STOP_SECONDS
        raise
    finally:
        group.stop(seconds=seconds)
        os.close(reading)
        for rank in range(len(processes)):
            lines = group.errors(rank).splitlines(keepends=True)
            sys.stderr.writelines(line for line in lines if not line.startswith(_REFUSAL))


def _start(
    rank: int, job: TrainingJob, job_file: Path, folder: Path, *, events: int
) -> subprocess.Popen[bytes]:
    place = Rank(
        rank=rank,
        local_rank=rank,
        world_size=job.config.compute.num_processes,
        rendezvous=f"file://{folder}/rendezvous",
    )
    variables = {
        **place.environment(),
        EVENTS_VARIABLE: str(events),
        SUPERVISOR_VARIABLE: str(os.getpid()),
        # They talk on this machine only, whatever its name resolves to.
        "GLOO_SOCKET_IFNAME": "lo",
    }
    with (folder / f"{rank}.err").open("wb") as errors:
        return subprocess.Popen(
            worker_command(job_file),
            env={**os.environ, **variables},
            pass_fds=[events] if rank == 0 else [],
            stderr=errors,
        )


def _num_out_of_memory_kills() -> int:
    """Return how often the kernel has killed in this control group for want of memory."""
    try:
        lines = Path("/sys/fs/cgroup/memory.events").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
