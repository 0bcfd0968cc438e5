import json
from pathlib import Path
from typing import Any

from llm_assets.routing import ApplicationRoute, Arm, RoutingPlan
from llm_assets.serving import envoy


def arm(version: str, *, variant: str = "champion", weight: int = 100, port: int = 1000) -> Arm:
    return Arm(variant=variant, model_version=version, port=port, weight=weight)


def plan(*arms: Arm) -> RoutingPlan:
    return RoutingPlan(
        routes=(ApplicationRoute(application="helpdesk", arms=arms, timeout_seconds=30.0),)
    )


def routes(plan: RoutingPlan) -> list[dict[str, Any]]:
    [table] = envoy.route_table(plan)
    return table["virtual_hosts"][0]["routes"]


def test_an_application_is_matched_by_the_model_in_the_body() -> None:
    chat, _ = routes(plan(arm("helpdesk-v0001")))
    [matcher] = chat["match"]["dynamic_metadata"]
    assert chat["match"]["path"] == "/v1/chat/completions"
    assert matcher["path"] == [{"key": "model"}]
    assert matcher["value"] == {"string_match": {"exact": "helpdesk"}}


def test_weights_and_variants_are_those_of_the_plan() -> None:
    arms = arm("helpdesk-v0001", weight=95), arm("helpdesk-v0002", variant="challenger", weight=5)
    clusters = routes(plan(*arms))[0]["route"]["weighted_clusters"]["clusters"]
    assert [cluster["weight"] for cluster in clusters] == [95, 5]
    headers = [cluster["request_headers_to_add"][0]["header"] for cluster in clusters]
    assert [header["value"] for header in headers] == ["champion", "challenger"]


def test_the_gateway_waits_longer_than_the_model_server() -> None:
    assert routes(plan(arm("helpdesk-v0001")))[0]["route"]["timeout"] == "35s"


def test_every_other_request_goes_to_the_api() -> None:
    last = routes(plan(arm("helpdesk-v0001")))[-1]
    assert (last["match"], last["route"]["cluster"]) == ({"prefix": "/"}, "api")


def test_an_application_that_nothing_serves_says_so() -> None:
    reply = routes(plan())[0]["direct_response"]
    assert reply["status"] == 503
    assert "'helpdesk'" in reply["body"]["inline_string"]


def test_every_route_leads_to_a_known_backend() -> None:
    the_plan = plan(arm("helpdesk-v0001"), arm("helpdesk-v0002", port=1001))
    names = {cluster["name"] for cluster in envoy.clusters(the_plan, api=("127.0.0.1", 9))}
    for route in routes(the_plan):
        action = route["route"]
        weighted = action.get("weighted_clusters", {"clusters": [{"name": action.get("cluster")}]})
        assert {cluster["name"] for cluster in weighted["clusters"]} <= names


def test_a_draining_arm_keeps_its_backend() -> None:
    old = arm("helpdesk-v0001", port=1001)
    clusters = envoy.clusters(plan(arm("helpdesk-v0002")), api=("127.0.0.1", 9), draining=[old])
    assert len(clusters) == 3


def test_the_same_content_has_the_same_version(tmp_path: Path) -> None:
    tables = [envoy.route_table(plan(arm("helpdesk-v0001", weight=w))) for w in (1, 1, 2)]
    versions = [envoy.version_of(table) for table in tables]
    assert versions[0] == versions[1] != versions[2]
    envoy.publish(tmp_path, "rds", tables[0])
    content = json.loads((tmp_path / "rds.json").read_text())
    assert content == {"version_info": versions[0], "resources": tables[0]}
