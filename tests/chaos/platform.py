"""The platform under test: what `llm-assets up` runs, but Dagster, in processes of its own.

A supervisor starts it again whenever it ends, as a machine's init would.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_assets.base_model import BaseModelFile
from llm_assets.deployment.registry import Entry
from llm_assets.evaluation.report import EvalReport
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest, version_name
from llm_assets.rollouts import by_hand
from llm_assets.serving.attempts import ATTEMPTS, OLD_ATTEMPTS, Attempt, read_attempt
from llm_assets.serving.process import Child
from llm_assets.serving.spec import Ready
from llm_assets.serving.status import Challenger, Endpoint, ServingStatus
from tests.chaos.bad_model import FAULTS, Fault
from tests.evaluation.reports import a_report
from tests.installations import DESKS, an_installation, helpdesk, write_application

_ROOT = Path(__file__).parents[2]
NAME, CHAMPION = "helpdesk", "helpdesk-v0001"
# What watches how well a challenger does; a proof of other things leaves all of it out.
NO_GUARDRAILS: dict[str, Any] = {
    "error_margin": None,
    "refusal_margin": None,
    "negative_margin": None,
    "max_latency_ratio": None,
    "max_first_token_ratio": None,
    "max_restarts": None,
}
_SERVING = {
    "max_tokens": 4,
    "context_tokens": 128,
    "threads": 1,
    "parallel_requests": 2,
    "max_waiting_requests": 1000,
    "quantization": "F16",
    "timeout_seconds": 4.0,
}
_START_SECONDS = 60.0


@dataclass
class Platform:
    """One installation and the processes that serve it."""

    folder: Path
    base_model: BaseModelFile
    installation: Installation
    environment: Mapping[str, str] = field(default_factory=dict)
    child: Child = field(init=False)
    num_starts: int = field(init=False, default=0)
    _stop: threading.Event = field(init=False, default_factory=threading.Event)
    _supervisor: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # The model serves as it is: preparing it takes seconds and is tested elsewhere.
        folder = self.home / "models" / "base" / self.base_model.sha256[:12]
        folder.mkdir(parents=True)
        (folder / "F16.gguf").symlink_to(self.base_model.path)
        self.child = self._new_child()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")

    @property
    def home(self) -> Path:
        return self.installation.home

    @property
    def url(self) -> str:
        return self.installation.settings.endpoint_url

    @property
    def entry(self) -> Entry:
        return self.installation.registry.entry(NAME)

    @property
    def endpoint(self) -> Endpoint | None:
        """What the controller says that it serves, if it lives."""
        status = ServingStatus.read(self.home)
        return status.applications.get(NAME) if status.is_live else None

    @property
    def challenger(self) -> Challenger | None:
        endpoint = self.endpoint
        return endpoint.challenger if endpoint else None

    @contextlib.contextmanager
    def running(self) -> Iterator["Platform"]:
        """Run until the context ends, and leave no process behind."""
        self._supervisor.start()
        try:
            self.wait_for(self.serves(CHAMPION))
            yield self
        finally:
            self._stop.set()
            self._supervisor.join()
            for pid in self.processes().values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def configure(self, deployment: dict[str, Any]) -> None:
        """Write the application's section of deployment; the next rollout follows it."""
        content = helpdesk(self.base_model.path, serving=_SERVING, deployment=deployment)
        write_application(self.installation.settings.applications, NAME, content)

    def add_version(self, *, fault: Fault | None = None) -> str:
        """Register one more version that its gate passed; it does well unless a fault is given."""
        version, now = version_name(NAME, len(self.entry.versions) + 1), datetime.now(UTC)
        ModelManifest(
            model_version=version,
            application=NAME,
            base_model_sha256=self.base_model.sha256,
            created_at=now,
            code_version="chaos",
        ).write(self.installation.model(version))
        _passing_report(version).write(self.installation.report(version))
        self.installation.registry.register(NAME, version, time=now, reason="made", run_id=None)
        faults = json.loads(self._faults.read_text()) if self._faults.exists() else {}
        self._faults.write_text(json.dumps(faults | ({version: fault} if fault else {})))
        return version

    def start(self, version: str, *, is_again: bool = False) -> None:
        """Start a rollout, and wait until its challenger answers."""
        by_hand.start(self.installation, version, reason=None, is_again=is_again)
        self.wait_for(lambda: self._follows() or self.entry.rollout is None)

    def _follows(self) -> bool:
        """Tell whether traffic is split as the registry says."""
        trial, split = self.challenger, self.entry.split
        return (
            trial is not None
            and split is not None
            and trial.ready
            and (trial.model_version, trial.share, trial.mirrored, trial.salt, trial.trial)
            == (split.challenger, split.share, split.mirrored, split.salt, split.trial)
        )

    def set_share(self, share: float) -> None:
        """Give the challenger another share of the users, and wait until it has it."""
        rollout = self.entry.rollout
        assert rollout is not None
        assert self.installation.registry.set_share(NAME, rollout, share)
        self.wait_for(self._follows)

    def serves(self, version: str) -> Callable[[], bool]:
        """Return what tells whether a version is the champion that answers."""

        def is_served() -> bool:
            endpoint = self.endpoint
            return endpoint is not None and endpoint.ready and endpoint.model_version == version

        return is_served

    def follows_registry(self) -> bool:
        """Tell whether who is served, and to whom, is what the registry says."""
        entry = self.entry
        is_served = entry.champion is not None and self.serves(entry.champion)()
        return is_served and (self._follows() if entry.rollout else self.challenger is None)

    def has_answered(self, version: str, pid: int) -> bool:
        """Tell whether a model server, that of this process id, has said that it answers."""
        ready = Ready.read(self.home / "run" / "models" / version / "ready.json")
        return ready is not None and ready.pid == pid

    def wait_for(self, condition: Callable[[], Any], *, seconds: float = _START_SECONDS) -> float:
        """Wait until it holds, and return how many seconds that took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + seconds, (self.endpoint, self.child.last_words())
            time.sleep(0.02)
        return time.monotonic() - began

    def restore(self) -> None:
        """End the rollout that runs, if any, and let the first version answer again."""
        while (entry := self.entry).rollout is not None or entry.champion != CHAMPION:
            by_hand.roll_back(self.installation, NAME, reason="the proof is over")
        self.wait_for(self.serves(CHAMPION))

    def attempts(self, *, since: datetime) -> list[Attempt]:
        """Return what the gateway tried since then."""
        folder = self.home / "gateway"
        lines = [
            line
            for path in (folder / OLD_ATTEMPTS, folder / ATTEMPTS)
            if path.exists()
            for line in path.read_bytes().splitlines()
        ]
        found = [attempt for line in lines if (attempt := read_attempt(line))]
        return [attempt for attempt in found if attempt.time >= since]

    def processes(self) -> dict[str, int]:
        """Return the processes of this installation that live, by what they are."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if self._belongs(entry) and (name := _name((entry / "cmdline").read_text())):
                    found[name] = pid
        return found

    @property
    def _faults(self) -> Path:
        return self.folder / "faults.json"

    def _belongs(self, entry: Path) -> bool:
        return f"LLM_ASSETS_HOME={self.home}\0" in (entry / "environ").read_text(errors="replace")

    def _new_child(self) -> Child:
        self.num_starts += 1
        return Child(
            "platform",
            [sys.executable, "-m", "tests.chaos.run_platform"],
            self.folder / "platform.log",
            environment={
                "PYTHONPATH": str(_ROOT),
                FAULTS: str(self._faults),
                **self.environment,
            },
        )

    def _supervise(self) -> None:
        self.child.start(time.monotonic())
        while not self._stop.wait(0.05):
            if not self.child.is_running:
                self.child = self._new_child()
                self.child.start(time.monotonic())
        self.child.stop(grace_seconds=40)


@contextlib.contextmanager
def a_platform(
    folder: Path, base_model: BaseModelFile, *, environment: Mapping[str, str] | None = None
) -> Iterator[Platform]:
    """Run a platform with one application on the tiny model."""
    with an_installation(folder, base_model, serving=_SERVING, deployment={}) as installation:
        platform = Platform(folder, base_model, installation, environment or {})
        with platform.running():
            yield platform


def _name(command: str) -> str | None:
    """Return what a process is, by its command line."""
    arguments = command.split("\0")
    if "--config-path" in arguments:
        return "gateway"
    for module, name in _MODULES.items():
        if module in arguments:
            spec = next((a for a in arguments if a.endswith("spec.json")), "")
            return Path(spec).parent.name or name
    return None


_MODULES = {
    "tests.chaos.run_platform": "platform",
    "llm_assets.api": "api",
    "tests.chaos.bad_model": "model",
}


def _passing_report(version: str) -> EvalReport:
    targets = [desk for desk in DESKS for _ in range(10)]
    report = a_report(targets, [True] * len(targets), [False] * len(targets))
    return replace(report, candidate=replace(report.candidate, model_version=version))
