"""Copies of requests for a shadow, with a real Envoy."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from llm_assets.routing import Mirror
from llm_assets.serving.gateway import Gateway
from tests.serving.fakes import FakeModel
from tests.serving.gateways import (
    CHAT,
    QuickClient,
    arm,
    attempts_of,
    follow,
    new_version,
    running_models,
    two_arms,
)

ASK = {"model": "helpdesk"}


@pytest.fixture
def shadow() -> Iterator[FakeModel]:
    # One each: copies that waited for one that hung still reach it when the test is over.
    with running_models("shadow") as models:
        yield models[0]


def mirror(shadow: FakeModel, *, weight: int = 10_000) -> Mirror:
    return Mirror(model_version=new_version(), port=shadow.port, weight=weight)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_request_reaches_the_shadow_whole_and_under_the_same_id(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel], shadow: FakeModel
) -> None:
    to_shadow = mirror(shadow)
    follow(gateway, arm(backends[0]), mirror=to_shadow)
    assert gateway.mirrored(to_shadow.model_version) == 0
    backends[0].seen.clear()
    for number in range(12):
        body = ASK | ({"stream": True} if number % 4 == 0 else {"pad": "x" * 10**6 * (number % 3)})
        assert client.post(CHAT, json=body).status_code == 200
    wait_until(lambda: len(shadow.seen) == 12)
    assert gateway.mirrored(to_shadow.model_version) == 12
    copies = {seen["request_id"]: (seen["size"], seen["variant"]) for seen in shadow.seen}
    assert copies == {s["request_id"]: (s["size"], "shadow") for s in backends[0].seen}
    assert {seen["variant"] for seen in backends[0].seen} == {"champion"}


def test_the_log_of_tries_tells_copies_from_requests(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel], shadow: FakeModel
) -> None:
    to_shadow = mirror(shadow)
    follow(gateway, arm(backends[0]), mirror=to_shadow)
    with shadow.failing("error"):
        request_id = client.post(CHAT, json=ASK).json()["request_id"]
        attempts = attempts_of(gateway, request_id, 2)
    found = {a.variant: (a.application, a.is_failure) for a in attempts}
    assert found == {"champion": ("helpdesk", False), "shadow": ("helpdesk", True)}
    assert to_shadow.model_version in {attempt.model_version for attempt in attempts}


def test_a_share_of_the_requests_is_copied(
    gateway: Gateway, backends: list[FakeModel], shadow: FakeModel
) -> None:
    follow(gateway, *two_arms(*backends, weight=5000), mirror=mirror(shadow, weight=5000))
    client = QuickClient(gateway)
    answers = [client.ask(user=str(number)) for number in range(200)]
    client.close()
    assert {answer["name"] for answer in answers} == {"one", "two"}
    time.sleep(0.2)
    # Six standard deviations of a binomial with n = 200 and p = 0.5.
    assert abs(len(shadow.seen) - 100) < 43


def test_a_hung_shadow_neither_slows_nor_fails_answers_nor_piles_them_up(
    gateway: Gateway, backends: list[FakeModel], shadow: FakeModel
) -> None:
    to_shadow = mirror(shadow)
    follow(gateway, arm(backends[0]), mirror=to_shadow)
    client = QuickClient(gateway)
    with shadow.failing("hang"):
        started = time.monotonic()
        assert {client.ask()["name"] for _ in range(150)} == {"one"}
        assert time.monotonic() - started < 5
        assert len(shadow.seen) <= 32
        assert (gateway.mirrored(to_shadow.model_version) or 0) <= 64
    client.close()


def test_a_shadow_that_is_away_costs_no_answer(gateway: Gateway, backends: list[FakeModel]) -> None:
    away = FakeModel("away")
    with away.running():
        pass
    follow(gateway, arm(backends[0]), mirror=mirror(away))
    client = QuickClient(gateway)
    assert {client.ask()["name"] for _ in range(20)} == {"one"}
    client.close()


def test_what_is_no_mirror_has_no_count(gateway: Gateway, backends: list[FakeModel]) -> None:
    alone = arm(backends[0])
    follow(gateway, alone)
    assert gateway.mirrored(alone.model_version) is None


def test_copies_are_counted_on_while_the_shadow_is_tried_on_users(
    gateway: Gateway, client: httpx.Client, backends: list[FakeModel], shadow: FakeModel
) -> None:
    champion, challenger = two_arms(backends[0], shadow)
    to_shadow = Mirror(model_version=challenger.model_version, port=challenger.port)
    follow(gateway, arm(backends[0]), mirror=to_shadow)
    client.post(CHAT, json=ASK)
    follow(gateway, champion, challenger)
    assert client.post(CHAT, json=ASK).json()["name"] == "shadow"
    assert gateway.mirrored(challenger.model_version) == 1
