"""Child processes that never outlive us: start, stop, restart with back-off, and free ports."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm_assets.errors import UserError

# Runs before the program: the kernel shall send a signal when the parent dies (option 1 of prctl).
# The parent may have died before that took effect, hence the second look.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[1]), 0, 0, 0)
if os.getppid() == int(sys.argv[2]):
    os.execv(sys.argv[3], sys.argv[3:])
"""
# The signal for a child that ends in its own time when its parent has died.
PARENT_DIED = signal.SIGUSR1
# What a process of ours writes before the line that says why it ends.
LAST_WORDS = "llm-assets: "
_LONGEST_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0


def require_free_port(host: str, port: int, variable: str) -> None:
    """Check that a port can be listened on.

    Raises:
        UserError: it is in use or not ours to use; the message names the environment variable.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "is in use" if error.errno == 98 else f"cannot be used: {error.strerror}"
            raise UserError(
                f"port {port} on {host} {reason}; set {variable} to a free one"
            ) from None


@dataclass
class Child:
    """One process with its log file, in a session of its own.

    It dies with the thread that started it (that is what the kernel watches), so start children
    from a thread that lives as long as they shall. It gets the `death_signal` then, all children
    at the same moment. Ctrl-C reaches only the parent, which stops its children in an order that
    makes sense.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    death_signal: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _num_starts: int = 0
    _log_offset: int = 0

    def start(self, now: float) -> None:
        """Start the process; `now` is a monotonic time in seconds."""
        assert not self.is_running
        self.log.parent.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT]
        guard += [str(int(self.death_signal)), str(os.getpid())]
        with self.log.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(
                [*guard, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self._started_at = now

    @property
    def pid(self) -> int | None:
        """The process id, or None before the first start."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the process ended, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def revive(self, now: float) -> bool:
        """Start the process unless it runs or has to pause; returns whether it did.

        The time from one start to the next grows from half a second to thirty with each; a minute
        of life forgives.
        """
        if self.is_running:
            if now - self._started_at >= _STABLE_SECONDS:
                self._num_starts = 0
            return False
        pause = min(0.25 * 2**self._num_starts, _LONGEST_PAUSE_SECONDS)
        if self._num_starts and now - self._started_at < pause:
            return False
        self._num_starts += 1
        self.start(now)
        return True

    def terminate(self) -> None:
        """Ask the process to end, and do not wait for it."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process and what it started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, *, grace_seconds: float) -> None:
        """Ask the process to end, and end it if it has not within the grace period."""
        self.terminate()
        if self._process is not None:
            try:
                self._process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def last_words(self) -> str:
        """Return the last line that the process wrote since its last start, or an empty text.

        What follows `LAST_WORDS` is preferred: a library's own thread may write after it.
        """
        with self.log.open("rb") as log:
            log.seek(self._log_offset)
            lines = log.read().decode(errors="replace").strip().splitlines()
        marked = [line.partition(LAST_WORDS)[2] for line in lines if LAST_WORDS in line]
        return (marked or lines or [""])[-1]
