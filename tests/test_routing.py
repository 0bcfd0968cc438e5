import pytest

from llm_assets.errors import UserError
from llm_assets.routing import ApplicationRoute, Arm, RoutingPlan


def arm(version: str, *, weight: int = 100) -> Arm:
    return Arm(variant="champion", model_version=version, port=1000, weight=weight)


def route(*arms: Arm) -> ApplicationRoute:
    return ApplicationRoute(application="helpdesk", arms=arms, timeout_seconds=30.0)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(UserError, match="weight of v1 must not be negative, got -1"):
        route(arm("v1", weight=-1))


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(UserError, match="helpdesk: at least one weight must be positive"):
        route(arm("v1", weight=0), arm("v2", weight=0))


def test_a_model_version_takes_part_once() -> None:
    with pytest.raises(UserError, match="model version 'v1' appears 2 times"):
        route(arm("v1"), arm("v1"))


def test_an_application_has_one_route() -> None:
    with pytest.raises(UserError, match="application 'helpdesk' appears 2 times"):
        RoutingPlan(routes=(route(arm("v1")), route(arm("v2"))))


def test_an_application_may_have_no_arm_yet() -> None:
    assert RoutingPlan(routes=(route(),)).arms == ()
