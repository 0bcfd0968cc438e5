"""The controller: makes the running processes and the gateway's routes what the registry says.

It keeps no state that matters: after a crash the next controller reads the registry and starts
everything anew.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from llm_assets.routing import (
    CHAMPION,
    ApplicationRoute,
    Arm,
    RoutingPlan,
    Split,
    route_of,
)
from llm_assets.serving.gateway import Gateway
from llm_assets.serving.model_process import MODEL_SERVER, ModelProcess
from llm_assets.serving.served import ServedApplication, version_spec
from llm_assets.storage import write_json_atomically

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 10.0
_MAX_ATTEMPTS_BYTES = 64 * 2**20


@dataclass
class _Server:
    """A model server and how far it is on its way out: `leave_at`, then `end_at`."""

    process: ModelProcess
    leave_at: float | None = None
    end_at: float | None = None

    @property
    def arm(self) -> Arm:
        version, port = self.process.spec.model_version, self.process.port
        return Arm(variant=CHAMPION, model_version=version, port=port)


@dataclass
class Controller:
    """Runs the model servers of each application's champion and challenger, and the gateway.

    `split` answers who shall serve an application, as its registry says. A new champion takes over
    only when its server answers, and a challenger gets its share only then; who is not wanted any
    more finishes its requests and is stopped. The model servers ask for tokens of `token_home`,
    and get the variables of `environment`; `program` is what serves a spec. Call everything from
    one thread that lives as long as the children shall (see `process.Child`).
    """

    home: Path
    applications: Iterable[ServedApplication]
    split: Callable[[str], Split | None]
    gateway: Gateway
    collector_url: str | None
    token_home: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = MODEL_SERVER
    drain_seconds: float = 3.0
    clock: Callable[[], float] = time.monotonic
    _servers: dict[str, _Server] = field(default_factory=dict)
    _splits: dict[str, Split] = field(default_factory=dict)
    _serving: dict[str, str] = field(default_factory=dict)
    _followed: dict[str, str] = field(default_factory=dict)
    _errors: dict[str, str] = field(default_factory=dict)
    _trial_errors: dict[str, str | None] = field(default_factory=dict)
    _status: dict[str, Any] = field(default_factory=dict)

    @property
    def model_versions(self) -> list[str]:
        """The model versions that have a server now, also those that are on their way out."""
        return sorted(self._servers)

    def run(self, stop: threading.Event, *, interval_seconds: float = 0.25) -> None:
        """Start the gateway, reconcile until told to stop, then stop all children.

        Raises:
            UserError: the gateway cannot start.
        """
        try:
            self.gateway.start()
            while not stop.is_set():
                self.reconcile()
                stop.wait(interval_seconds)
        finally:
            self.stop()

    def reconcile(self) -> None:
        """Do one pass: quick, except that it makes the files of a version never served before."""
        now = self.clock()
        self.gateway.revive(now)
        self.gateway.rotate_attempts(_MAX_ATTEMPTS_BYTES)
        for served in self.applications:
            try:
                self._pursue(served, now)
            except (UserError, OSError) as error:
                self._note(served.application, str(error))
        # Known before the plan is made, so that nobody is called ready whom it leaves out; and so
        # the ports are known.
        ready = {v for v, server in self._servers.items() if server.process.is_ready}
        plan = self._plan()
        routed = {part.model_version for part in (*plan.arms, *plan.mirrors)}
        draining = [s.arm for v, s in self._servers.items() if s.process.port and v not in routed]
        is_followed = self.gateway.follow(plan, draining=draining)
        if is_followed:
            self._followed = dict(self._serving)
            self._retire(now)
        self._write_status(ready if is_followed else set(), is_followed=is_followed)

    def stop(self) -> None:
        """Stop the gateway, then the model servers, which send their last records."""
        self.gateway.child.stop(grace_seconds=_STOP_SECONDS)
        for server in self._servers.values():
            server.process.child.terminate()
        for server in self._servers.values():
            server.process.child.stop(grace_seconds=_STOP_SECONDS)
        self._servers.clear()
        self._splits.clear()
        self._serving.clear()
        self._followed.clear()
        self._write_status(set(), is_followed=False)

    def _pursue(self, served: ServedApplication, now: float) -> None:
        """Bring an application closer to being served as its registry says."""
        name = served.application
        split = self.split(name)
        if split is None:
            if name in self._serving:
                self._keep_alive(self._serving[name], now)
            self._note(name, "no champion yet")
            return
        self._splits[name] = split
        if (serving := self._serving.get(name)) not in (None, split.champion):
            self._keep_alive(serving, now)
        self._run(served, split.champion, now)
        if self._servers[split.champion].process.is_ready:
            self._serving[name] = split.champion
            self._errors.pop(name, None)
        elif problem := self._problem(split.champion):
            self._note(name, problem)
        if split.challenger is not None:
            try:
                self._run(served, split.challenger, now)
                self._trial_errors[name] = self._problem(split.challenger)
            except (UserError, OSError) as error:
                self._trial_errors[name] = str(error)

    def _run(self, served: ServedApplication, version: str, now: float) -> None:
        if version not in self._servers:
            self._servers[version] = _Server(self._process(served, version))
        self._keep_alive(version, now)

    def _problem(self, version: str) -> str | None:
        """Return the last words of a version's server that does not run."""
        child = self._servers[version].process.child
        return None if child.is_running else f"{version}: {child.last_words()}"

    def _keep_alive(self, version: str, now: float) -> None:
        server = self._servers[version]
        server.leave_at = server.end_at = None
        if server.process.revive(now):
            _LOG.info("%s: started", version)

    def _process(self, served: ServedApplication, version: str) -> ModelProcess:
        run = self.home / "run"
        spec = replace(
            version_spec(served, version, home=self.home),
            variant=CHAMPION,
            collector_url=self.collector_url,
            token_home=self.token_home,
        )
        return ModelProcess(
            spec,
            run / "models" / version,
            run / "logs" / f"{version}.log",
            environment=self.environment,
            program=self.program,
        )

    def _plan(self) -> RoutingPlan:
        return RoutingPlan(routes=tuple(map(self._route, self.applications)))

    def _route(self, served: ServedApplication) -> ApplicationRoute:
        name = served.application
        split, serving = self._splits.get(name), self._serving.get(name)
        seconds = served.serving.timeout_seconds
        if split is None or serving is None:
            return ApplicationRoute(application=name, arms=(), timeout_seconds=seconds)
        if serving != split.champion:  # the new champion is not there yet
            split = Split(champion=serving)
        return route_of(name, split, port_of=self._port_of, timeout_seconds=seconds)

    def _port_of(self, version: str) -> int | None:
        """Return where a version answers, or answered before it died.

        It keeps its place in the plan, where the gateway passes it over until it is back, so that
        its users do not move to and fro.
        """
        server = self._servers.get(version)
        return server.process.port or None if server else None

    def _retire(self, now: float) -> None:
        """Let servers that nobody needs finish their requests, then stop them."""
        needed = {*self._serving.values()}
        for split in self._splits.values():
            needed |= {split.champion, split.challenger}
        for version, server in list(self._servers.items()):
            child = server.process.child
            if version in needed:
                continue
            if not child.is_running:
                del self._servers[version]
            elif server.leave_at is None:
                server.leave_at = now + self.drain_seconds
            elif server.end_at is None and now >= server.leave_at:
                server.end_at = now + server.process.spec.serving.timeout_seconds + _STOP_SECONDS
                child.terminate()
            elif server.end_at is not None and now >= server.end_at:
                child.kill()

    def _note(self, application: str, error: str) -> None:
        if self._errors.get(application) != error:
            _LOG.warning("%s: %s", application, error)
        self._errors[application] = error

    def _write_status(self, ready: Set[str], *, is_followed: bool) -> None:
        """Write `run/status.json` for those who want to know; only when it says something new."""
        status = {
            "controller_pid": os.getpid(),
            "gateway": {"port": self.gateway.port, "ready": is_followed},
            "applications": {
                served.application: self._endpoint(served.application, ready)
                for served in self.applications
            },
        }
        if status != self._status:
            write_json_atomically(self.home / "run" / "status.json", status)
            self._status = status

    def _endpoint(self, application: str, ready: Set[str]) -> dict[str, Any]:
        version = self._followed.get(application)
        server = self._servers[version].process if version else None
        split = self._splits.get(application)
        endpoint = {
            "model_version": version,
            "variant": CHAMPION,
            "port": server.port if server else None,
            "ready": version in ready,
            "error": self._errors.get(application),
            "challenger": None,
        }
        if split and split.challenger not in (None, version):
            trial = self._servers.get(split.challenger or "")
            process = trial.process if trial else None
            endpoint["challenger"] = {
                "model_version": split.challenger,
                "port": process.port if process else None,
                "ready": split.challenger in ready,
                "share": split.share,
                "mirrored": split.mirrored,
                "salt": split.salt,
                "trial": split.trial,
                "num_restarts": process.num_restarts if process else 0,
                "error": self._trial_errors.get(application),
            }
        return endpoint
