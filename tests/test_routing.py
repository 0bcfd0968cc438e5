import pytest

from llm_assets.errors import UserError
from llm_assets.routing import ApplicationRoute, Arm, Mirror, RoutingPlan


def arm(version: str, *, weight: int = 10_000) -> Arm:
    return Arm(variant="champion", model_version=version, port=1000, weight=weight)


def route(*arms: Arm, mirror: Mirror | None = None) -> ApplicationRoute:
    return ApplicationRoute(application="helpdesk", arms=arms, mirror=mirror, timeout_seconds=30.0)


def test_a_weight_that_is_no_share_is_refused() -> None:
    with pytest.raises(UserError, match="weight of v1 must lie in 0 to 10000, got -1"):
        route(arm("v1", weight=-1))
    with pytest.raises(UserError, match="helpdesk: weight of v2 must lie in 0 to 10000, got 10001"):
        route(arm("v1"), mirror=Mirror(model_version="v2", port=1001, weight=10_001))


def test_weights_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(UserError, match="helpdesk: weights must add up to 10000, got 9999"):
        route(arm("v1", weight=9_000), arm("v2", weight=999))


def test_a_model_version_takes_part_once() -> None:
    with pytest.raises(UserError, match="model version 'v1' appears 2 times"):
        route(arm("v1", weight=5_000), arm("v1", weight=5_000))


def test_an_application_has_one_route() -> None:
    with pytest.raises(UserError, match="application 'helpdesk' appears 2 times"):
        RoutingPlan(routes=(route(arm("v1")), route(arm("v2"))))


def test_an_application_may_have_no_arm_yet() -> None:
    assert RoutingPlan(routes=(route(),)).arms == ()


def test_a_plan_knows_its_arms_and_mirrors() -> None:
    mirror = Mirror(model_version="v2", port=1001)
    plan = RoutingPlan(routes=(route(arm("v1"), mirror=mirror),))
    assert (plan.arms, plan.mirrors) == ((arm("v1"),), (mirror,))


def test_the_gateway_waits_longer_than_the_model_server() -> None:
    assert (route(arm("v1")).try_seconds, route(arm("v1")).total_seconds) == (None, 35)
