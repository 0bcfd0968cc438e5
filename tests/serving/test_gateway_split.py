"""Who is sent to which arm, with a real Envoy."""

from collections.abc import Iterator
from typing import Any

import pytest

from llm_assets.serving.gateway import Gateway
from tests.serving.fakes import FakeModel
from tests.serving.gateways import (
    QuickClient,
    arm,
    attempts_of,
    follow,
    two_arms,
)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[QuickClient]:
    client = QuickClient(gateway)
    yield client
    client.close()


def challenged(client: QuickClient, count: int = 200, **body: Any) -> set[int]:
    """Return which of so many users the challenger answers."""
    return {n for n in range(count) if client.ask(user=f"user {n}", **body)["name"] == "two"}


def test_a_larger_share_keeps_every_user_of_a_smaller_one(
    gateway: Gateway, client: QuickClient, backends: list[FakeModel]
) -> None:
    shares = []
    for weight in (500, 2000, 5000):
        follow(gateway, *two_arms(*backends, weight=weight), salt="rollout 1")
        shares.append(challenged(client))
    assert shares[0] < shares[1] < shares[2]
    for users, share in zip(shares, (0.05, 0.2, 0.5), strict=True):
        # Six standard deviations of a binomial with n = 200 and p = 0.5.
        assert abs(len(users) - 200 * share) < 43
    assert challenged(client) == shares[2]


def test_another_rollout_begins_with_other_users(
    gateway: Gateway, client: QuickClient, backends: list[FakeModel]
) -> None:
    arms = two_arms(*backends, weight=5000)
    follow(gateway, *arms, salt="rollout 1")
    first = challenged(client, 100)
    follow(gateway, *arms, salt="rollout 2")
    second = challenged(client, 100)
    assert 20 < len(first ^ second) < 80


def test_the_safety_identifier_comes_before_the_user_and_the_session_after(
    gateway: Gateway, client: QuickClient, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends, weight=5000), salt="rollout 1")

    def names(*bodies: dict[str, Any]) -> list[str]:
        return [client.ask(**body)["name"] for body in bodies]

    ids = [f"user {number}" for number in range(30)]
    by_user = names(*({"user": name} for name in ids))
    assert set(by_user) == {"one", "two"}
    session = {"metadata": {"session_id": "the same"}}
    safety = [{"safety_identifier": name, "user": "the same"} | session for name in ids]
    assert names(*safety) == by_user
    assert names(*({"user": name} | session for name in ids)) == by_user
    assert names(*({"metadata": {"session_id": name}} for name in ids)) == by_user


@pytest.mark.parametrize("is_sticky", [True, False])
def test_without_a_user_or_not_sticky_each_request_is_drawn_anew(
    gateway: Gateway, client: QuickClient, backends: list[FakeModel], is_sticky: bool
) -> None:
    follow(gateway, *two_arms(*backends, weight=2500), is_sticky=is_sticky)
    body = {} if is_sticky else {"user": "the same"}
    answers = [client.ask(**body) for _ in range(200)]
    assert {(a["name"], a["variant"]) for a in answers} == {
        ("one", "champion"),
        ("two", "challenger"),
    }
    # Six standard deviations of a binomial with n = 200 and p = 0.25.
    assert abs(sum(a["name"] == "two" for a in answers) - 50) < 37


@pytest.mark.parametrize(
    "body",
    [
        {"user": 5},
        {"user": True},
        {"user": None},
        {"user": ["x"]},
        {"user": {"user": "x"}},
        {"user": ""},
        {"user": "line\r\nbreak: \x00"},
        {"user": "ü" * 100_000},
        {"metadata": 5},
        {"metadata": "x"},
        {"metadata": [{"session_id": "x"}]},
        {"metadata": {"session_id": 5}},
        {"metadata": {"session_id": None}},
    ],
)
def test_whatever_stands_for_a_user_breaks_no_request(
    gateway: Gateway, client: QuickClient, backends: list[FakeModel], body: dict[str, Any]
) -> None:
    follow(gateway, *two_arms(*backends, weight=10_000))
    answer = client.ask(**body)
    assert (answer["name"], answer["user"]) == ("two", None)
    follow(gateway, arm(backends[0]))
    assert client.ask(**body)["name"] == "one"


def test_an_arm_without_weight_is_not_asked(
    gateway: Gateway, client: QuickClient, backends: list[FakeModel]
) -> None:
    follow(gateway, *two_arms(*backends, weight=0))
    answers = [client.ask(user=str(number)) for number in range(50)]
    assert {answer["name"] for answer in answers} == {"one"}
    [attempt] = attempts_of(gateway, answers[0]["request_id"], 1)
    assert (attempt.variant, attempt.is_failure) == ("champion", False)
