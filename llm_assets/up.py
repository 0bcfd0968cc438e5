"""Everything on: API, gateway, model servers, and Dagster with its sensors, until told to stop."""

import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llm_assets.bootstrap import prepare_dagster_home, register_base_models
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.rollouts.watch import RolloutWatch
from llm_assets.serving.controller import Controller
from llm_assets.serving.gateway import Gateway
from llm_assets.serving.model_process import MODEL_SERVER
from llm_assets.serving.process import PARENT_DIED, Child, require_free_port
from llm_assets.settings import Settings
from llm_assets.tokens import INTERNAL_TOKEN, is_loopback, new_token

_INTERVAL_SECONDS = 0.5


def up(installation: Installation, stop: threading.Event) -> None:
    """Start everything, keep it running, and stop it when told to.

    Raises:
        UserError: as `serve`.
    """
    settings = installation.settings
    require_free_port(settings.host, settings.port, "LLM_ASSETS_PORT")
    require_free_port(settings.ui_host, settings.ui_port, "LLM_ASSETS_UI_PORT")
    log = installation.home / "run" / "logs" / "dagster.log"
    serve(installation, stop, beside=Child("dagster", _dagster_command(settings), log))


def serve(
    installation: Installation,
    stop: threading.Event,
    *,
    beside: Child | None = None,
    program: Sequence[str] = MODEL_SERVER,
) -> None:
    """Answer users and carry rollouts through until told to stop; `beside` runs for as long.

    `program` is what serves the spec of a model version.

    Raises:
        UserError: another one runs on the same home, a port is in use, an application's file is
            wrong, or a base model is missing.
    """
    settings = installation.settings
    with _only_one(installation.home):
        prepare_dagster_home(settings)
        register_base_models(installation)
        logs = installation.home / "run" / "logs"
        api_port = _free_port()
        # Made anew at each start, and never written: whoever has it is one of our processes.
        internal = {INTERNAL_TOKEN: new_token()}
        api = Child(
            "api",
            _api_command(api_port),
            logs / "api.log",
            environment=internal,
            death_signal=PARENT_DIED,
        )
        children = [api] if beside is None else [api, beside]
        controller = Controller(
            home=installation.home,
            applications=installation.served_applications(),
            split=lambda name: installation.registry.entry(name).split,
            gateway=Gateway(
                folder=installation.home / "gateway",
                log=logs / "gateway.log",
                host=settings.host,
                port=settings.port,
                api=("127.0.0.1", api_port),
            ),
            collector_url=f"http://127.0.0.1:{api_port}",
            token_home=None if is_loopback(settings.host) else installation.home,
            environment=internal,
            program=program,
        )
        watch = RolloutWatch(installation, environment={**os.environ, **internal})
        try:
            for child in children:
                child.start(time.monotonic())
            controller.gateway.start()
            while not stop.wait(_INTERVAL_SECONDS):
                controller.reconcile()  # first: the status of an earlier life says nothing
                watch.look()
                for child in children:
                    child.revive(time.monotonic())
        finally:
            watch.stop()
            if beside is not None:
                beside.stop(grace_seconds=15)
            # The model servers send their last records, so the API goes after them.
            controller.stop()
            api.stop(grace_seconds=10)


def _api_command(port: int) -> list[str]:
    return [sys.executable, "-m", "llm_assets.api", "--port", str(port)]


def _dagster_command(settings: Settings) -> list[str]:
    command = [sys.executable, "-m", "dagster", "dev", "--module-name", "llm_assets.definitions"]
    return [*command, "--host", settings.ui_host, "--port", str(settings.ui_port)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home's lock; the kernel lets go of it however this process ends."""
    path = home / "run" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{home}: is in use by another `llm-assets up`") from None
        yield
    finally:
        os.close(descriptor)
