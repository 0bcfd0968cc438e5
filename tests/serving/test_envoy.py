import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_assets.routing import ApplicationRoute, Arm, Mirror, RoutingPlan
from llm_assets.serving.envoy.clusters import clusters, is_alive
from llm_assets.serving.envoy.files import publish, version_of
from llm_assets.serving.envoy.routes import route_table

ONE = Arm(variant="champion", model_version="helpdesk-v0001", port=1000)
TWO = Arm(variant="challenger", model_version="helpdesk-v0002", port=1001)
SHADOW = Mirror(model_version="helpdesk-v0003", port=1002, weight=2500)
API = ("127.0.0.1", 9)
SPLIT = replace(ONE, weight=9500), replace(TWO, weight=500)
# Members of the clusters of both arms, in order of preference.
CHAMPION_ARM = "champion/helpdesk-v0001/1000>challenger/helpdesk-v0002/1001>api"
CHALLENGER_ARM = "challenger/helpdesk-v0002/1001>champion/helpdesk-v0001/1000>api"


def plan(*arms: Arm, mirror: Mirror | None = None, **keywords: Any) -> RoutingPlan:
    route = ApplicationRoute(
        application="helpdesk", arms=arms, timeout_seconds=30.0, mirror=mirror, **keywords
    )
    return RoutingPlan(routes=(route,))


def routes(plan: RoutingPlan) -> list[dict[str, Any]]:
    [table] = route_table(plan)
    return table["virtual_hosts"][0]["routes"]


def named(plan: RoutingPlan) -> dict[str, Any]:
    return {cluster["name"]: cluster for cluster in clusters(plan, api=API)}


def test_an_application_is_matched_by_the_model_in_the_body() -> None:
    chat, _ = routes(plan(ONE))
    [matcher] = chat["match"]["dynamic_metadata"]
    assert chat["match"]["path"] == "/v1/chat/completions"
    assert matcher["path"] == [{"key": "model"}]
    assert matcher["value"] == {"string_match": {"exact": "helpdesk"}}


def test_weights_and_variants_are_those_of_the_plan_and_the_newest_arm_stands_first() -> None:
    parts = routes(plan(*SPLIT))[0]["route"]["weighted_clusters"]["clusters"]
    assert [part["weight"] for part in parts] == [500, 9500]
    assert [part["name"] for part in parts] == [CHALLENGER_ARM, CHAMPION_ARM]
    headers = [part["request_headers_to_add"][0]["header"] for part in parts]
    assert [header["value"] for header in headers] == ["challenger", "champion"]


def test_an_arm_is_its_own_server_then_the_other_then_the_api() -> None:
    members = named(plan(*SPLIT))[CHALLENGER_ARM]["cluster_type"]["typed_config"]["clusters"]
    assert ">".join(members) == CHALLENGER_ARM


def test_only_what_is_new_is_watched() -> None:
    watched = {
        name
        for name, cluster in named(plan(*SPLIT, mirror=SHADOW)).items()
        if "health_checks" in cluster and "outlier_detection" in cluster
    }
    assert watched == {"challenger/helpdesk-v0002/1001", "mirror/helpdesk-v0003/1002"}


def test_one_arm_has_the_time_of_one_try_and_two_arms_that_of_all() -> None:
    assert routes(plan(ONE))[0]["route"]["timeout"] == "35s"
    action = routes(plan(*SPLIT))[0]["route"]
    assert (action["timeout"], action["retry_policy"]["per_try_timeout"]) == ("93s", "31s")


def test_only_two_arms_are_told_of_the_trial() -> None:
    chat, _ = routes(plan(*SPLIT, trial="canary"))
    [added] = chat["request_headers_to_add"]
    assert added["header"] == {"key": "x-llm-assets-trial", "value": "canary"}
    assert "request_headers_to_add" not in routes(plan(ONE, trial="canary"))[0]


def test_a_share_of_the_requests_is_mirrored_as_shadow() -> None:
    [policy] = routes(plan(ONE, mirror=SHADOW))[0]["route"]["request_mirror_policies"]
    share = policy["runtime_fraction"]["default_value"]
    assert share == {"numerator": 2500, "denominator": "TEN_THOUSAND"}
    [mutation] = policy["request_headers_mutations"]
    assert mutation["append"]["header"] == {"key": "x-llm-assets-variant", "value": "shadow"}


def test_every_other_request_goes_to_the_api() -> None:
    last = routes(plan(ONE))[-1]
    assert (last["match"], last["route"]["cluster"]) == ({"prefix": "/"}, "api")


def test_an_application_that_nothing_serves_says_so() -> None:
    reply = routes(plan())[0]["direct_response"]
    assert reply["status"] == 503
    assert "'helpdesk'" in reply["body"]["inline_string"]


def test_a_promoted_challenger_is_another_backend() -> None:
    promoted = replace(TWO, variant="champion")
    assert set(named(plan(promoted))) == {
        "api",
        "champion/helpdesk-v0002/1001",
        "champion/helpdesk-v0002/1001>api",
    }


def test_a_cluster_lives_as_long_as_all_of_its_servers() -> None:
    found = named(plan(*SPLIT, mirror=SHADOW))
    both = {"helpdesk-v0001/1000", "helpdesk-v0002/1001"}
    assert {name for name, cluster in found.items() if is_alive(cluster, both)} == set(found) - {
        "mirror/helpdesk-v0003/1002"
    }
    alive = {name for name, cluster in found.items() if is_alive(cluster, {"helpdesk-v0001/1000"})}
    assert alive == {"api", "champion/helpdesk-v0001/1000"}


def test_the_same_content_has_the_same_version(tmp_path: Path) -> None:
    tables = [route_table(plan(replace(ONE, port=port))) for port in (1, 1, 2)]
    versions = [version_of(table) for table in tables]
    assert versions[0] == versions[1] != versions[2]
    publish(tmp_path, "rds", tables[0])
    content = json.loads((tmp_path / "rds.json").read_text())
    assert content == {"version_info": versions[0], "resources": tables[0]}
