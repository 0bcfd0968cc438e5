"""A model server seen from outside: the child process, its spec, and whether it answers."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llm_assets.serving.process import Child
from llm_assets.serving.spec import ModelServerSpec, Ready

MODEL_SERVER = (sys.executable, "-m", "llm_assets.serving.model_server")


@dataclass
class ModelProcess:
    """A model server with its files in `folder`; ready file and port of the spec are replaced.

    `port` is where it answers, or last answered; 0 before it ever did. `program` is what
    serves a spec.
    """

    spec: ModelServerSpec
    folder: Path
    log: Path
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = MODEL_SERVER
    child: Child = field(init=False)
    num_restarts: int = -1
    _has_answered: bool = False

    def __post_init__(self) -> None:
        spec_file = self.folder / "spec.json"
        self.child = Child(
            self.spec.model_version,
            [*self.program, "--spec", str(spec_file)],
            self.log,
            environment=self.environment,
        )
        self._write_spec()

    @property
    def is_ready(self) -> bool:
        """Whether the process lives and has said that it answers; learns its port."""
        ready = Ready.read(self.folder / "ready.json")
        # A ready file of an earlier life names another process.
        if ready is None or ready.pid != self.child.pid or not self.child.is_running:
            return False
        self.port = ready.port
        self._has_answered = True
        return True

    def revive(self, now: float) -> bool:
        """Start the process if it is not running and its pause is over; returns whether it did.

        A server that has answered before comes back at the same port, so that the gateway's retries
        find it; if it cannot, the next try takes any port.
        """
        if not self.child.is_running:
            self._write_spec()
        is_started = self.child.revive(now)
        if is_started:
            self._has_answered = False
            self.num_restarts += 1
        return is_started

    def _write_spec(self) -> None:
        port = self.port if self._has_answered else 0
        spec = replace(self.spec, port=port, ready_file=self.folder / "ready.json")
        spec.write(self.folder / "spec.json")
