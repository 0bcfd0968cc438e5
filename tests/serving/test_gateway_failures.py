"""What a client gets when model servers fail, and what the log of tries says, with a real Envoy."""

import socket
import threading
import time
from dataclasses import replace

import httpx
import pytest

from llm_assets.serving.gateway import Gateway
from tests.serving.fakes import Failure, FakeModel
from tests.serving.gateways import (
    CHAT,
    QuickClient,
    arm,
    attempts_of,
    follow,
    two_arms,
)

ASK = {"model": "helpdesk"}


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(("failure", "status"), [("error", 500), ("reset", 0), ("hang", 0)])
def test_what_the_challenger_fails_the_champion_answers(
    gateway: Gateway,
    client: httpx.Client,
    backends: list[FakeModel],
    failure: Failure,
    status: int,
) -> None:
    champion, challenger = arms = two_arms(*backends)
    follow(gateway, *arms, timeout_seconds=0.0)  # a try takes a second longer
    with backends[1].failing(failure):
        response = client.post(CHAT, json=ASK)
    answer = response.json()
    assert (response.status_code, answer["name"]) == (200, "one")
    # The assigned arm stays, so that the answer counts for the challenger.
    assert (answer["variant"], answer["trial"]) == ("challenger", "canary")
    first, second = attempts_of(gateway, answer["request_id"], 2)
    assert (first.attempt, first.model_version) == (1, challenger.model_version)
    assert (first.status, first.is_failure) == (status, True)
    assert (second.attempt, second.model_version) == (2, champion.model_version)
    assert (second.status, second.is_failure) == (200, False)
    assert {first.variant, second.variant} == {"challenger"}
    assert {first.application, second.application} == {"helpdesk"}


def test_a_challenger_that_is_away_costs_no_answer_also_of_many_at_once(
    gateway: Gateway, backends: list[FakeModel]
) -> None:
    champion, challenger = two_arms(*backends)
    follow(gateway, champion, replace(challenger, port=closed_port()))
    names: list[str] = []

    def ask() -> None:
        client = QuickClient(gateway)
        names.extend(client.ask()["name"] for _ in range(5))
        client.close()

    clients = [threading.Thread(target=ask) for _ in range(30)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert names == ["one"] * 150


def test_what_the_champion_fails_the_challenger_answers(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends, weight=0))
    with backends[0].failing("error"):
        answer = client.post(CHAT, json=ASK).json()
    assert (answer["name"], answer["variant"]) == ("two", "champion")


def test_a_challenger_that_fails_again_and_again_is_taken_out_but_not_for_being_busy(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    champion, _ = arms = two_arms(*backends)
    follow(gateway, *arms)
    with backends[1].failing("shed"):
        assert {client.post(CHAT, json=ASK).status_code for _ in range(10)} == {503}
    assert client.post(CHAT, json=ASK).json()["name"] == "two"
    with backends[1].failing("reset"):
        answers = [client.post(CHAT, json=ASK).json() for _ in range(6)]
    assert [answer["name"] for answer in answers] == ["one"] * 6
    [attempt] = attempts_of(gateway, answers[-1]["request_id"], 1)
    assert (attempt.variant, attempt.attempt) == ("challenger", 1)
    assert (attempt.model_version, attempt.is_failure) == (champion.model_version, False)


def test_when_both_arms_fail_the_api_answers(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends))
    with backends[0].failing("error"), backends[1].failing("reset"):
        response = client.post(CHAT, json=ASK)
    assert (response.status_code, response.json()["name"]) == (200, "api")
    assert response.json()["variant"] == "challenger"
    assert response.headers["x-llm-assets-variant"] == "fallback"
    attempts = attempts_of(gateway, response.headers["x-request-id"], 3)
    assert attempts[-1].model_version is None
    assert [attempt.is_failure for attempt in attempts] == [True, True, False]


@pytest.mark.chaos
def test_a_champion_that_stays_away_is_answered_for_and_one_that_comes_back_in_time_answers(
    gateway: Gateway, client: httpx.Client
) -> None:
    late = FakeModel("late")
    late.port = closed_port()
    follow(gateway, arm(late))
    response = client.post(CHAT, json=ASK)
    assert (response.status_code, response.json()["name"]) == (200, "api")
    assert 2 < response.elapsed.total_seconds() < 5
    with late.running(late.port, after_seconds=2.0):
        assert client.post(CHAT, json=ASK).json()["name"] == "late"


def test_a_request_that_was_with_a_killed_champion_is_sent_again(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, arm(backends[0]))
    with backends[0].failing("reset", seconds=0.7):
        answer = client.post(CHAT, json=ASK).json()
    assert (answer["name"], answer["variant"]) == ("one", "champion")


@pytest.mark.parametrize(
    ("num_arms", "failure", "status"), [(1, "error", 500), (1, "shed", 503), (2, "shed", 503)]
)
def test_what_is_an_answer_is_not_asked_for_again(
    gateway: Gateway,
    client: httpx.Client,
    backends: list[FakeModel],
    num_arms: int,
    failure: Failure,
    status: int,
) -> None:
    follow(gateway, *(two_arms(*backends) if num_arms == 2 else [arm(backends[1])]))
    backends[1].seen.clear()
    with backends[1].failing(failure):
        response = client.post(CHAT, json=ASK)
    assert response.status_code == status
    [seen] = backends[1].seen
    [attempt] = attempts_of(gateway, seen["request_id"], 1)
    assert attempt.is_failure == (failure == "error")


def test_a_stream_that_breaks_is_not_begun_again(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends))
    backends[0].seen.clear()
    stream = client.stream("POST", CHAT, json=ASK | {"stream": True})
    broken = pytest.raises(httpx.RemoteProtocolError)
    with backends[1].failing("break"), stream as response, broken:
        response.read()
    assert backends[0].seen == []
    [attempt] = attempts_of(gateway, response.headers["x-request-id"], 1)
    assert (attempt.status, attempt.is_failure) == (200, True)


def test_a_stream_may_last_longer_than_a_try(
    gateway: Gateway,
    client: httpx.Client,
    backends: list[FakeModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeModel, "STREAM_SECONDS", 1.4)
    follow(gateway, *two_arms(*backends), timeout_seconds=0.0)
    with client.stream("POST", CHAT, json=ASK | {"stream": True}) as response:
        assert response.read().count(b"data:") == 4
    [attempt] = attempts_of(gateway, response.headers["x-request-id"], 1)
    assert attempt.seconds > 1
    assert not attempt.is_failure


def test_a_large_body_is_sent_again_as_a_whole(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends))
    body = ASK | {"pad": "x" * 4 * 2**20}
    with backends[1].failing("reset"):
        answer = client.post(CHAT, json=body).json()
    assert (answer["name"], answer["size"] > 4 * 2**20) == ("one", True)


def test_a_client_that_goes_away_is_no_failure_of_the_model(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends))
    backends[1].seen.clear()
    with backends[1].failing("hang"):
        with pytest.raises(httpx.ReadTimeout):
            client.post(CHAT, json=ASK, timeout=0.5)
        [seen] = backends[1].seen
        [attempt] = attempts_of(gateway, seen["request_id"], 1)
    assert (attempt.status, attempt.is_failure) == (0, False)


def test_a_challenger_that_is_not_well_when_it_comes_is_not_asked(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends))
    with backends[1].failing("unwell"):
        champion, challenger = arms = two_arms(*backends)
        follow(gateway, *arms)
        answer = client.post(CHAT, json=ASK).json()
        assert answer["name"] == "one"
        [attempt] = attempts_of(gateway, answer["request_id"], 1)
        assert attempt.model_version == champion.model_version
    deadline = time.monotonic() + 5
    while client.post(CHAT, json=ASK).json()["name"] != "two":
        assert time.monotonic() < deadline, challenger
        time.sleep(0.1)
