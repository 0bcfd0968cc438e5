"""One container: a local process in a session of its own, its log, and the state it is in."""

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.kubernetes.logs import ContainerLog
from tests.kubernetes.objects import Object, now
from tests.kubernetes.processes import MARK, kill_all

# The exit code of a container whose command could not be started.
_NOT_STARTED = 128


class Container:
    """A container that waits, then runs, then has terminated; it is never run twice."""

    def __init__(self, spec: Object, mark: str) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.log = ContainerLog()
        self._mark = mark
        self._state: Object = {}
        self._was_out_of_memory = False
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.wait("ContainerCreating")

    @property
    def status(self) -> Object:
        """Return the container's part of the pod's status."""
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": "",
            "ready": self.is_running,
            "started": self.is_running,
            "restartCount": 0,
            "state": self._state,
            "lastState": {},
        }

    @property
    def is_waiting(self) -> bool:
        return "waiting" in self._state

    @property
    def is_running(self) -> bool:
        return "running" in self._state

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, None before the end."""
        return self._state["terminated"]["exitCode"] if "terminated" in self._state else None

    @property
    def waits_for(self) -> str:
        """Return the reason why the container has not started."""
        return self._state["waiting"]["reason"]

    def wait(self, reason: str, message: str = "") -> None:
        """Say why the container has not started."""
        self._state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}

    def start(
        self, command: Sequence[str], variables: Mapping[str, str], working_folder: Path
    ) -> None:
        """Start the command; if it cannot be started, the container has terminated."""
        try:
            self._process = subprocess.Popen(
                command,
                env={**variables, MARK: self._mark},
                cwd=working_folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._terminate(_NOT_STARTED, "StartError", str(error))
            return
        self._state = {"running": {"startedAt": now()}}
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout])
        self._reader.start()

    def poll(self) -> None:
        """See whether the first process has ended; then all others of the container end with it."""
        if self.is_running and self._process and self._process.poll() is not None:
            self._end()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the first process, which is all that Kubernetes sends it to.

        In a container a first process that does not handle it does not even notice; here it ends.
        """
        if self.is_running and self._process:
            self._process.send_signal(signal.SIGTERM)

    def kill(self, *, is_out_of_memory: bool = False) -> None:
        """Kill everything in the container at once."""
        if self.is_running and self._process:
            self._was_out_of_memory = is_out_of_memory
            self._process.kill()
            self._process.wait()
            self._end()
        self.log.close()

    def _end(self) -> None:
        assert self._process
        assert self._reader
        kill_all(self._mark)
        self._reader.join()
        code = self._process.returncode
        if code < 0:  # killed by a signal
            code = 128 - code
        if self._was_out_of_memory:
            self._terminate(code, "OOMKilled")
        else:
            self._terminate(code, "Error" if code else "Completed")

    def _terminate(self, code: int, reason: str, message: str = "") -> None:
        started_at = self._state.get("running", {}).get("startedAt", now())
        ended = {"exitCode": code, "reason": reason, "startedAt": started_at, "finishedAt": now()}
        self._state = {"terminated": {**ended, **({"message": message} if message else {})}}
        self.log.close()

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self.log.append(line)
