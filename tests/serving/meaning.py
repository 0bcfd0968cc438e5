"""What a rendering of a plan says, read back from Envoy's resources or from HTTPRoutes alike."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What happens to the chat requests of one application; `shares` is by model version."""

    path: str
    shares: dict[str, float] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    mirror: tuple[str, float] | None = None
    total_seconds: float | None = None
    try_seconds: float | None = None
    is_sticky: bool = False
    are_errors_tried_again: bool = False
    is_tried_again: bool = False


def of_envoy(clusters: Sequence[Any], table: Sequence[Any]) -> dict[str, Meaning]:
    """Return what Envoy's clusters and routes mean, by application."""
    by_name = {cluster["name"]: cluster for cluster in clusters}
    [routes] = table
    *chats, _ = routes["virtual_hosts"][0]["routes"]
    return {_envoy_application(chat): _of_envoy_route(by_name, chat) for chat in chats}


def of_http_routes(
    routes: Sequence[dict[str, Any]], version_of: Callable[[str], str]
) -> dict[str, Meaning]:
    """Return what HTTPRoutes mean, by application; `version_of` knows the services."""
    meanings = {}
    for route in routes:
        [rule] = route["spec"]["rules"]
        [match] = rule["matches"]
        [header] = match["headers"]
        assert header["name"] == "X-Gateway-Model-Name"
        meanings[header["value"]] = _of_http_rule(rule, match["path"]["value"], version_of)
    return meanings


def _envoy_application(chat: dict[str, Any]) -> str:
    [matcher] = chat["match"]["dynamic_metadata"]
    return matcher["value"]["string_match"]["exact"]


def _of_envoy_route(clusters: dict[str, Any], chat: dict[str, Any]) -> Meaning:
    path = chat["match"]["path"]
    if "direct_response" in chat:
        return Meaning(path=path)
    action = chat["route"]
    parts = action["weighted_clusters"]["clusters"]
    total = sum(part["weight"] for part in parts)
    versions = [_first_version(clusters, part["name"]) for part in parts]
    for_all = _envoy_headers(chat)
    mirror = None
    for policy in action.get("request_mirror_policies", ()):
        share = policy["runtime_fraction"]["default_value"]
        assert share["denominator"] == "TEN_THOUSAND"
        mirror = (_first_version(clusters, policy["cluster"]), share["numerator"] / 10_000)
    retry = action["retry_policy"]
    return Meaning(
        path=path,
        shares={v: part["weight"] / total for v, part in zip(versions, parts, strict=True)},
        headers={v: _envoy_headers(p) | for_all for v, p in zip(versions, parts, strict=True)},
        mirror=mirror,
        total_seconds=_seconds(action["timeout"]),
        try_seconds=_seconds(retry.get("per_try_timeout")),
        is_sticky=bool(action["weighted_clusters"].get("use_hash_policy")) and "metadata" in chat,
        are_errors_tried_again="5xx" in retry["retry_on"].split(","),
        is_tried_again="connect-failure" in retry["retry_on"].split(","),
    )


def _of_http_rule(rule: dict[str, Any], path: str, version_of: Callable[[str], str]) -> Meaning:
    if "backendRefs" not in rule:
        return Meaning(path=path)
    parts = rule["backendRefs"]
    total = sum(part["weight"] for part in parts)
    versions = [version_of(part["name"]) for part in parts]
    mirror = None
    for named in rule.get("filters", ()):
        share = named["requestMirror"]["fraction"]
        service = named["requestMirror"]["backendRef"]["name"]
        mirror = (version_of(service), share["numerator"] / share["denominator"])
    return Meaning(
        path=path,
        shares={v: part["weight"] / total for v, part in zip(versions, parts, strict=True)},
        headers={v: _http_headers(part) for v, part in zip(versions, parts, strict=True)},
        mirror=mirror,
        total_seconds=_seconds(rule["timeouts"]["request"]),
        try_seconds=_seconds(rule["timeouts"].get("backendRequest")),
        is_sticky="sessionPersistence" in rule,
        are_errors_tried_again=500 in rule["retry"].get("codes", ()),
        is_tried_again=rule["retry"]["attempts"] > 0,
    )


def _first_version(clusters: dict[str, Any], name: str) -> str:
    """Return the model version of the cluster's first backend, which must be known as well."""
    cluster = clusters[name]
    if "cluster_type" in cluster:
        members = cluster["cluster_type"]["typed_config"]["clusters"]
        assert all(member in clusters for member in members)
        return _first_version(clusters, members[0])
    return name.split("/")[1]


def _envoy_headers(part: dict[str, Any]) -> dict[str, str]:
    added = [one["header"] for one in part.get("request_headers_to_add", ())]
    return {header["key"]: header["value"] for header in added}


def _http_headers(part: dict[str, Any]) -> dict[str, str]:
    [modifier] = part["filters"]
    return {one["name"]: one["value"] for one in modifier["requestHeaderModifier"]["set"]}


def _seconds(duration: str | None) -> float | None:
    if duration is None:
        return None
    units = {"s": 1000, "ms": 1}
    parts = re.findall(r"([\d.]+)(ms|s)", duration)
    return sum(float(number) * units[unit] for number, unit in parts) / 1000
