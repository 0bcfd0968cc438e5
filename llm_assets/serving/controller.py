"""The controller: makes the running processes and the gateway's routes what the registry says.

It keeps no state that matters: after a crash the next controller reads the registry and starts
everything anew.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from llm_assets.routing import ApplicationRoute, Arm, RoutingPlan
from llm_assets.serving.gateway import Gateway
from llm_assets.serving.model_process import ModelProcess
from llm_assets.serving.served import ServedApplication, version_spec
from llm_assets.storage import write_json_atomically

_LOG = logging.getLogger(__name__)
_CHAMPION = "champion"
_STOP_SECONDS = 10.0


@dataclass
class _Server:
    """A model server and how far it is on its way out: `leave_at`, then `end_at`."""

    process: ModelProcess
    leave_at: float | None = None
    end_at: float | None = None

    @property
    def arm(self) -> Arm:
        spec = self.process.spec
        return Arm(variant=_CHAMPION, model_version=spec.model_version, port=self.process.port)


@dataclass
class Controller:
    """Runs one model server for each application's champion, and the gateway before them.

    `champion` answers which model version an application's registry names. A new champion takes
    over only when its server answers; the old one then finishes its requests and is stopped. The
    model servers ask for tokens of `token_home`, and get the variables of `environment`. Call
    everything from one thread that lives as long as the children shall (see `process.Child`).
    """

    home: Path
    applications: Iterable[ServedApplication]
    champion: Callable[[str], str | None]
    gateway: Gateway
    collector_url: str | None
    token_home: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    drain_seconds: float = 3.0
    clock: Callable[[], float] = time.monotonic
    _servers: dict[str, _Server] = field(default_factory=dict)
    _wanted: dict[str, str] = field(default_factory=dict)
    _serving: dict[str, str] = field(default_factory=dict)
    _followed: dict[str, str] = field(default_factory=dict)
    _errors: dict[str, str] = field(default_factory=dict)
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
        for served in self.applications:
            try:
                self._pursue(served, now)
            except (UserError, OSError) as error:
                self._note(served.application, str(error))
        plan = self._plan()
        routed = {arm.model_version for arm in plan.arms}
        draining = [s.arm for v, s in self._servers.items() if s.process.port and v not in routed]
        is_followed = self.gateway.follow(plan, draining=draining)
        if is_followed:
            self._followed = dict(self._serving)
            self._retire(now)
        self._write_status(is_followed=is_followed)

    def stop(self) -> None:
        """Stop the gateway, then the model servers, which send their last records."""
        self.gateway.child.stop(grace_seconds=_STOP_SECONDS)
        for server in self._servers.values():
            server.process.child.terminate()
        for server in self._servers.values():
            server.process.child.stop(grace_seconds=_STOP_SECONDS)
        self._servers.clear()
        self._wanted.clear()
        self._serving.clear()
        self._followed.clear()
        self._write_status(is_followed=False)

    def _pursue(self, served: ServedApplication, now: float) -> None:
        """Bring an application closer to being served by its champion."""
        name = served.application
        if name in self._serving:
            self._keep_alive(self._serving[name], now)
        version = self.champion(name)
        if version is None:
            self._note(name, "no champion yet")
            return
        if version not in self._servers:
            self._servers[version] = _Server(self._process(served, version))
        self._wanted[name] = version
        self._keep_alive(version, now)
        process = self._servers[version].process
        if process.is_ready:
            self._serving[name] = version
            self._errors.pop(name, None)
        elif not process.child.is_running:
            self._note(name, f"{version}: {process.child.last_words()}")

    def _keep_alive(self, version: str, now: float) -> None:
        server = self._servers[version]
        server.leave_at = server.end_at = None
        if server.process.revive(now):
            _LOG.info("%s: started", version)

    def _process(self, served: ServedApplication, version: str) -> ModelProcess:
        run = self.home / "run"
        spec = replace(
            version_spec(served, version, home=self.home),
            variant=_CHAMPION,
            collector_url=self.collector_url,
            token_home=self.token_home,
        )
        return ModelProcess(
            spec,
            run / "models" / version,
            run / "logs" / f"{version}.log",
            environment=self.environment,
        )

    def _plan(self) -> RoutingPlan:
        routes = []
        for served in self.applications:
            version = self._serving.get(served.application)
            arms = () if version is None else (self._servers[version].arm,)
            routes.append(
                ApplicationRoute(
                    application=served.application,
                    arms=arms,
                    timeout_seconds=served.serving.timeout_seconds,
                )
            )
        return RoutingPlan(routes=tuple(routes))

    def _retire(self, now: float) -> None:
        """Let servers that nobody needs finish their requests, then stop them."""
        needed = {*self._serving.values(), *self._wanted.values()}
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

    def _write_status(self, *, is_followed: bool) -> None:
        """Write `run/status.json` for those who want to know; only when it says something new."""
        applications = {}
        for served in self.applications:
            version = self._followed.get(served.application)
            server = self._servers[version].process if version else None
            applications[served.application] = {
                "model_version": version,
                "variant": _CHAMPION,
                "port": server.port if server else None,
                "ready": is_followed and server is not None and server.is_ready,
                "error": self._errors.get(served.application),
            }
        status = {
            "controller_pid": os.getpid(),
            "gateway": {"port": self.gateway.port, "ready": is_followed},
            "applications": applications,
        }
        if status != self._status:
            write_json_atomically(self.home / "run" / "status.json", status)
            self._status = status
