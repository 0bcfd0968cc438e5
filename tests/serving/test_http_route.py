from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.routing import ApplicationRoute, Arm, Mirror, RoutingPlan
from llm_assets.serving.envoy.clusters import clusters
from llm_assets.serving.envoy.routes import route_table
from llm_assets.serving.http_route import as_yaml, http_routes
from tests.serving.meaning import of_envoy, of_http_routes

NAMES = ("helpdesk", "billing", "search")
VARIANTS = ("champion", "challenger", "third")


def rendered(plan: RoutingPlan) -> list[dict[str, Any]]:
    return http_routes(
        plan, namespace="llm", gateway="public", service_of=lambda v: f"model-{v}", port=8080
    )


@st.composite
def application_routes(draw: st.DrawFn, application: str) -> ApplicationRoute:
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), max_size=2)))
    weights = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    if draw(st.booleans()) and draw(st.booleans()):
        weights = []
    arms = tuple(
        Arm(variant=v, model_version=f"{application}-v000{n}", port=1000 + n, weight=weight)
        for n, (v, weight) in enumerate(zip(VARIANTS, weights, strict=False))
    )
    mirror = Mirror(
        model_version=f"{application}-v0009", port=1009, weight=draw(st.integers(0, 10_000))
    )
    return ApplicationRoute(
        application=application,
        arms=arms,
        timeout_seconds=draw(st.integers(1, 5_000_000)) / 1000,
        mirror=draw(st.sampled_from([None, mirror])),
        is_sticky=draw(st.booleans()),
        salt=draw(st.text(max_size=5)),
        trial=draw(st.sampled_from(["", "canary", "ab"])),
    )


@st.composite
def plans(draw: st.DrawFn) -> RoutingPlan:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return RoutingPlan(routes=tuple(draw(application_routes(name)) for name in names))


@given(plans())
def test_both_renderings_of_a_plan_mean_the_same(plan: RoutingPlan) -> None:
    by_envoy = of_envoy(clusters(plan, api=("127.0.0.1", 9)), route_table(plan))
    by_kubernetes = of_http_routes(rendered(plan), lambda name: name.removeprefix("model-"))
    assert by_envoy == by_kubernetes
    assert set(by_envoy) == {route.application for route in plan.routes}


@pytest.fixture
def canary() -> RoutingPlan:
    arms = (
        Arm(variant="champion", model_version="helpdesk-v0001", port=1000, weight=9500),
        Arm(variant="challenger", model_version="helpdesk-v0002", port=1001, weight=500),
    )
    route = ApplicationRoute(
        application="helpdesk",
        arms=arms,
        timeout_seconds=30.5,
        mirror=Mirror(model_version="helpdesk-v0003", port=1002, weight=2500),
        salt="rollout 1",
        trial="canary",
    )
    return RoutingPlan(routes=(route,))


def test_a_canary_is_one_route_with_its_arms_and_its_mirror(canary: RoutingPlan) -> None:
    [route] = yaml.safe_load_all(as_yaml(rendered(canary)))
    assert (route["apiVersion"], route["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert route["metadata"] == {"name": "helpdesk", "namespace": "llm"}
    assert route["spec"]["parentRefs"] == [{"name": "public"}]
    [rule] = route["spec"]["rules"]
    champion, challenger = rule["backendRefs"]
    assert (champion["name"], champion["weight"]) == ("model-helpdesk-v0001", 9500)
    assert challenger == {
        "name": "model-helpdesk-v0002",
        "port": 8080,
        "weight": 500,
        "filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {
                    "set": [
                        {"name": "x-llm-assets-variant", "value": "challenger"},
                        {"name": "x-llm-assets-trial", "value": "canary"},
                    ]
                },
            }
        ],
    }
    [mirror] = rule["filters"]
    assert mirror["requestMirror"] == {
        "backendRef": {"name": "model-helpdesk-v0003", "port": 8080},
        "fraction": {"numerator": 2500, "denominator": 10_000},
    }
    assert rule["timeouts"] == {"request": "94s500ms", "backendRequest": "31s500ms"}


def test_a_shed_request_is_not_tried_again(canary: RoutingPlan) -> None:
    [route] = rendered(canary)
    assert 503 not in route["spec"]["rules"][0]["retry"]["codes"]


def test_another_rollout_draws_anew(canary: RoutingPlan) -> None:
    [route] = canary.routes
    names = set()
    for salt in ("rollout 1", "rollout 2"):
        plan = RoutingPlan(routes=(replace(route, salt=salt),))
        [rule] = rendered(plan)[0]["spec"]["rules"]
        names.add(rule["sessionPersistence"]["sessionName"])
    assert len(names) == 2
