"""The gateway with a real Envoy, in front of backends that say who they are."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_assets.errors import UserError
from llm_assets.routing import ApplicationRoute, Arm, RoutingPlan
from llm_assets.serving.gateway import Gateway
from tests.serving.fakes import FakeApi, FakeModel

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def backends() -> Iterator[list[FakeModel]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeModel(name).running()) for name in ("one", "two")]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with FakeApi().running() as api:
        gateway = new_gateway(folder, api)
        gateway.start()
        yield gateway
        gateway.child.stop(grace_seconds=10)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with client_of(gateway) as client:
        yield client


def new_gateway(folder: Path, api: FakeApi, *, port: int = 0) -> Gateway:
    address = ("127.0.0.1", api.port)
    return Gateway(folder / "files", folder / "log", "127.0.0.1", port, address)


def client_of(gateway: Gateway) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=30)


def follow(gateway: Gateway, *arms: Arm) -> None:
    route = ApplicationRoute(application="helpdesk", arms=arms, timeout_seconds=5.0)
    assert gateway.follow(RoutingPlan(routes=(route,)), draining=())


def arm(backend: FakeModel, *, variant: str = "champion", weight: int = 100) -> Arm:
    version = f"helpdesk-{backend.name}"
    return Arm(variant=variant, model_version=version, port=backend.port, weight=weight)


def test_a_chat_request_reaches_the_arm_of_its_model(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, arm(backends[0]))
    headers = {"x-request-id": "forged", "x-llm-assets-variant": "forged"}
    response = client.post(CHAT, json={"messages": [], "model": "helpdesk"}, headers=headers)
    seen = response.json()
    assert (seen["name"], seen["variant"]) == ("one", "champion")
    assert len(seen["request_id"]) == 36
    assert response.headers.get_list("x-request-id") == [seen["request_id"]]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", ""]
)
def test_the_content_type_may_have_any_usual_form(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel], content_type: str
) -> None:
    follow(gateway, arm(backends[0]))
    headers = {"content-type": content_type} if content_type else {}
    response = client.post(CHAT, content=b'{"model": "helpdesk"}', headers=headers)
    assert response.json()["name"] == "one"


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": "other"}',
        b'{"messages": []}',
        b'{"model": 5}',
        b'{"model": {"model": "helpdesk"}}',
        b"[1]",
        b"{broken",
        b"",
        b"[" * 100_000,
    ],
)
def test_what_names_no_known_model_reaches_the_api(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel], content: bytes
) -> None:
    follow(gateway, arm(backends[0]))
    response = client.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert response.json() == {"path": CHAT, "size": len(content)}


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v1/feedback", "/v1/chat/other"])
def test_every_other_path_reaches_the_api(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel], path: str
) -> None:
    follow(gateway, arm(backends[0]))
    assert client.post(path, json={"model": "helpdesk"}).json()["path"] == path


def test_a_body_of_megabytes_arrives_and_a_larger_one_gets_a_clear_answer(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, arm(backends[0]))
    large = json.dumps({"pad": "x" * 4 * 2**20, "model": "helpdesk"}).encode()
    headers = {"content-type": "application/json"}
    assert client.post(CHAT, content=large, headers=headers).json()["size"] == len(large)
    response = client.post(CHAT, content=large * 3, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, 413)


def test_a_stream_is_not_held_back(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, arm(backends[0]))
    body = {"model": "helpdesk", "stream": True}
    with client.stream("POST", CHAT, json=body) as response:
        arrivals = [time.monotonic() for _ in response.iter_raw()]
    assert arrivals[-1] - arrivals[0] > FakeModel.STREAM_SECONDS / 2


def test_weights_split_the_requests(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, arm(backends[0], weight=75), arm(backends[1], variant="challenger", weight=25))
    answers = [client.post(CHAT, json={"model": "helpdesk"}).json() for _ in range(200)]
    assert {(a["name"], a["variant"]) for a in answers} == {
        ("one", "champion"),
        ("two", "challenger"),
    }
    # Six standard deviations of a binomial with n = 200 and p = 0.25.
    assert abs(sum(a["name"] == "two" for a in answers) - 50) < 37


def test_without_a_model_version_the_answer_is_a_503_that_says_so(
    gateway: Gateway, client: httpx.Client
) -> None:
    follow(gateway)
    response = client.post(CHAT, json={"model": "helpdesk"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, 503)
    assert "no model version serves application 'helpdesk' yet" in response.text


def test_a_backend_that_stays_away_is_a_503_and_one_that_comes_back_in_time_is_not(
    gateway: Gateway, client: httpx.Client
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    late = FakeModel("late")
    follow(gateway, Arm(variant="champion", model_version="helpdesk-late", port=port))
    response = client.post(CHAT, json={"model": "helpdesk"})
    assert (response.status_code, response.json()["error"]["type"]) == (503, "gateway_error")
    with late.running(port, after_seconds=0.3):
        assert client.post(CHAT, json={"model": "helpdesk"}).json()["name"] == "late"


def test_a_killed_gateway_comes_back_at_its_port_with_its_routes(
    tmp_path: Path, api: FakeApi, backends: list[FakeModel]
) -> None:
    gateway = new_gateway(tmp_path, api)
    gateway.start()
    try:
        follow(gateway, arm(backends[0]))
        assert gateway.child.pid is not None
        os.kill(gateway.child.pid, signal.SIGKILL)
        while gateway.child.is_running:
            time.sleep(0.01)
        gateway.revive(time.monotonic() + 60)
        follow(gateway, arm(backends[0]))
        with client_of(gateway) as client:
            assert client.post(CHAT, json={"model": "helpdesk"}).json()["name"] == "one"
    finally:
        gateway.child.stop(grace_seconds=10)


def test_a_port_in_use_is_one_clear_line(gateway: Gateway, tmp_path: Path, api: FakeApi) -> None:
    second = new_gateway(tmp_path, api, port=gateway.port)
    with pytest.raises(UserError, match=f"port {gateway.port} on 127.0.0.1 is in use; set LLM_"):
        second.start()


def test_strangers_cannot_stop_the_gateway(gateway: Gateway) -> None:
    address = (gateway.folder / "admin_address").read_text().strip()
    answer: Any = httpx.post(f"http://{address}/quitquitquit")
    assert answer.status_code == 403
    assert gateway.child.is_running
