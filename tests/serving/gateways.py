"""A real gateway in front of backends that say who they are, and its clients."""

import contextlib
import http.client
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from llm_assets.routing import ApplicationRoute, Arm, Mirror, RoutingPlan
from llm_assets.serving.attempts import Attempt, read_attempt
from llm_assets.serving.gateway import Gateway
from tests.serving.fakes import FakeApi, FakeModel

CHAT = "/v1/chat/completions"
_NUMBERS = itertools.count(1)


def new_gateway(folder: Path, api: FakeApi, *, port: int = 0) -> Gateway:
    address = ("127.0.0.1", api.port)
    return Gateway(folder / "files", folder / "log", "127.0.0.1", port, address)


@contextlib.contextmanager
def running_gateway(folder: Path) -> Iterator[Gateway]:
    """Return a gateway that runs, with a fake API behind it."""
    with FakeApi().running() as api:
        gateway = new_gateway(folder, api)
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.child.stop(grace_seconds=10)


@contextlib.contextmanager
def running_models(*names: str) -> Iterator[list[FakeModel]]:
    """Return model servers that run."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeModel(name).running()) for name in names]


def client_of(gateway: Gateway) -> httpx.Client:
    # Reading certificates would take longer than most tests.
    return httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=30, verify=False)


def new_version() -> str:
    """Return a model version that no earlier test has led Envoy to think badly of."""
    return f"helpdesk-v{next(_NUMBERS):04d}"


def arm(backend: FakeModel, *, variant: str = "champion", weight: int = 10_000) -> Arm:
    return Arm(variant=variant, model_version=new_version(), port=backend.port, weight=weight)


def two_arms(champion: FakeModel, challenger: FakeModel, *, weight: int = 10_000) -> list[Arm]:
    """Return a champion and a challenger of that weight, at first of all."""
    return [
        arm(champion, weight=10_000 - weight),
        arm(challenger, variant="challenger", weight=weight),
    ]


def follow(
    gateway: Gateway,
    *arms: Arm,
    timeout_seconds: float = 5.0,
    mirror: Mirror | None = None,
    is_sticky: bool = True,
    salt: str = "",
    draining: Sequence[Arm] = (),
) -> None:
    route = ApplicationRoute(
        application="helpdesk",
        arms=arms,
        timeout_seconds=timeout_seconds,
        mirror=mirror,
        is_sticky=is_sticky,
        salt=salt,
        trial="canary" if len(arms) > 1 else "",
    )
    assert gateway.follow(RoutingPlan(routes=(route,)), draining=draining)


class QuickClient:
    """Asks many times over one connection, at a fraction of what httpx takes."""

    def __init__(self, gateway: Gateway) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)

    def ask(self, **body: Any) -> dict[str, Any]:
        """Return what the backend says of itself."""
        content = json.dumps({"model": "helpdesk", **body}).encode()
        self._connection.request("POST", CHAT, content, {"content-type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def close(self) -> None:
        self._connection.close()


def attempts_of(gateway: Gateway, request_id: str, count: int) -> list[Attempt]:
    """Return the tries of a request in order, once there are so many."""
    deadline = time.monotonic() + 5
    while True:
        lines = gateway.attempts.read_bytes().splitlines()
        attempts = [attempt for line in lines if (attempt := read_attempt(line))]
        found = [attempt for attempt in attempts if attempt.request_id == request_id]
        if len(found) >= count:
            return sorted(found, key=lambda attempt: attempt.time)
        assert time.monotonic() < deadline, lines[-3:]
        time.sleep(0.05)
