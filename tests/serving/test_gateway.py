"""The gateway with a real Envoy, in front of backends that say who they are."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_assets.errors import UserError
from llm_assets.serving.attempts import read_line
from llm_assets.serving.gateway import Gateway
from tests.serving.fakes import FakeApi, FakeModel
from tests.serving.gateways import (
    CHAT,
    QuickClient,
    arm,
    attempts_of,
    client_of,
    follow,
    new_gateway,
    two_arms,
)


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


def test_clients_cannot_say_what_only_the_gateway_says(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    forged = {f"x-llm-assets-{name}": "forged" for name in ("variant", "trial", "user")}
    forged |= {"x-envoy-attempt-count": "7", "x-envoy-max-retries": "0"}
    for arms in ([arm(backends[0])], two_arms(*backends)):
        follow(gateway, *arms)
        seen = client.post(CHAT, json={"model": "helpdesk"}, headers=forged).json()
        assert seen["variant"] == arms[-1].variant
        assert seen["trial"] == ("canary" if len(arms) > 1 else None)
        assert seen["user"] is None
        [attempt] = attempts_of(gateway, seen["request_id"], 1)
        assert attempt.attempt == 1
    answer = client.post(CHAT, json={"model": "other"}, headers=forged).json()
    assert "variant" not in answer


def test_no_request_fails_while_weights_and_arms_change(
    gateway: Gateway, backends: list[FakeModel]
) -> None:
    champion, challenger = arms = two_arms(*backends, weight=0)
    follow(gateway, *arms)
    is_done = threading.Event()
    answers: list[str] = []

    def ask() -> None:
        client = QuickClient(gateway)
        while not is_done.is_set():
            answers.append(client.ask(user=str(len(answers)))["name"])
        client.close()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for thread in clients:
        thread.start()
    for number in range(20):
        if number % 5 == 4:
            promoted = replace(challenger, variant="champion", weight=10_000)
            follow(gateway, promoted, draining=[champion])
        else:
            weight = 2000 * (number % 5) + 500
            split = replace(champion, weight=10_000 - weight), replace(challenger, weight=weight)
            follow(gateway, *split)
        wanted = len(answers) + 100
        while len(answers) < wanted and any(thread.is_alive() for thread in clients):
            time.sleep(0.01)
    is_done.set()
    for thread in clients:
        thread.join()
    assert len(answers) >= 2000  # a client that got anything but an answer has stopped
    assert set(answers) == {"one", "two"}


def test_without_a_model_version_the_answer_is_a_503_that_says_so(
    gateway: Gateway, client: httpx.Client
) -> None:
    follow(gateway)
    response = client.post(CHAT, json={"model": "helpdesk"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, 503)
    assert "no model version serves application 'helpdesk' yet" in response.text


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


def test_the_log_of_tries_begins_anew_when_it_is_large(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, arm(backends[0]))
    first = client.post(CHAT, json={"model": "helpdesk"}).json()["request_id"]
    attempts_of(gateway, first, 1)
    gateway.rotate_attempts(gateway.attempts.stat().st_size)
    attempts_of(gateway, first, 1)
    gateway.rotate_attempts(10)
    second = client.post(CHAT, json={"model": "helpdesk"}).json()["request_id"]
    attempts_of(gateway, second, 1)
    [old, new] = sorted(gateway.folder.glob("attempts*"))
    assert [first.encode() in file.read_bytes() for file in (old, new)] == [True, False]


def test_the_log_of_tries_tells_of_chats_only_and_nothing_that_a_client_wrote(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends))
    client.post("/v1/feedback?secret", json={"user": "secret"}, headers={"x-secret": "secret"})
    body = {"model": "helpdesk", "user": "secret", "messages": ["secret"]}
    request_id = client.post(CHAT, json=body, headers={"x-secret": "secret"}).json()["request_id"]
    attempts_of(gateway, request_id, 1)
    content = gateway.attempts.read_bytes()
    assert b"secret" not in content
    assert all(read_line(line) is not None for line in content.splitlines())


def test_a_port_in_use_is_one_clear_line(gateway: Gateway, tmp_path: Path, api: FakeApi) -> None:
    second = new_gateway(tmp_path, api, port=gateway.port)
    with pytest.raises(UserError, match=f"port {gateway.port} on 127.0.0.1 is in use; set LLM_"):
        second.start()


def test_strangers_cannot_stop_the_gateway(gateway: Gateway) -> None:
    address = (gateway.folder / "admin_address").read_text().strip()
    answer: Any = httpx.post(f"http://{address}/quitquitquit")
    assert answer.status_code == 403
    assert gateway.child.is_running
