"""Envoy's clusters: a backend for each server, and for each arm the backends that it may ask.

A cluster never changes, because its name says all that it is; what changes gets a new name. So a
request that began under one plan ends as it began, whatever the next plan says.
"""

from collections.abc import Collection
from typing import Any

from llm_assets.routing import CHAMPION, ApplicationRoute, Arm, Mirror, RoutingPlan
from llm_assets.serving.envoy.files import API, TYPE, address
from llm_assets.serving.headers import RATE_LIMITED

# Shorter than the keep-alive of any backend (uvicorn's default is 5 s), so that no request is sent
# into a connection that is just being closed.
_IDLE_SECONDS = 3
_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# The default of 3 concurrent retries would fail requests while a server restarts. An aggregate
# cluster counts the retries of its arm itself.
_WIDE = {"max_requests": 1024, "max_retries": 1024}
# Copies that a hung shadow does not answer are held, with their bodies, until their time is over.
# What finds no place here is not sent.
_NARROW = {"max_connections": 32, "max_pending_requests": 32, "max_requests": 64, "max_retries": 0}
# What a busy server sheds says nothing against its health.
_ERRORS = {
    "and_match": {
        "rules": [
            {
                "http_response_headers_match": {
                    "headers": [{"name": ":status", "string_match": {"prefix": "5"}}]
                }
            },
            {
                "not_match": {
                    "http_response_headers_match": {
                        "headers": [{"name": RATE_LIMITED, "present_match": True}]
                    }
                }
            },
        ]
    }
}
_MIRROR = "mirror"


def clusters(plan: RoutingPlan, *, api: tuple[str, int]) -> list[Any]:
    """Return the API process, the servers of all arms and mirrors, and the arms themselves."""
    found = {API: _backend(API, *api)}
    for route in plan.routes:
        for arm in route.arms:
            name = backend_name(arm)
            found[name] = _watched(_arm(arm)) if arm.variant != CHAMPION else _arm(arm)
        for arm in route.arms:
            found[arm_name(route, arm)] = _aggregate(arm_name(route, arm), _preferred(route, arm))
        if route.mirror:
            found[mirror_name(route.mirror)] = _mirror(route.mirror)
    return [found[name] for name in sorted(found)]


def backend_name(arm: Arm) -> str:
    """Return the cluster of an arm's own server: `variant/model version/port`."""
    # A challenger that becomes champion is another cluster: it is not watched any more. So is a
    # server that comes back elsewhere.
    return f"{arm.variant}/{server_of(arm)}"


def mirror_name(mirror: Mirror) -> str:
    """Return the cluster of a mirror's server: `mirror/model version/port`."""
    return f"{_MIRROR}/{server_of(mirror)}"


def arm_name(route: ApplicationRoute, arm: Arm) -> str:
    """Return the cluster that a request of this arm is sent to: its backends, joined by `>`."""
    return ">".join(_preferred(route, arm))


def server_of(part: Arm | Mirror) -> str:
    """Return what names a running model server in the names of its clusters."""
    return f"{part.model_version}/{part.port}"


def model_version_of(name: str) -> str | None:
    """Return the model version behind a backend's name, or None for the API process.

    >>> model_version_of("challenger/helpdesk-v0002/4711"), model_version_of("api")
    ('helpdesk-v0002', None)
    """
    return name.split("/")[1] if "/" in name else None


def is_alive(cluster: dict[str, Any], servers: Collection[str]) -> bool:
    """Say whether all model servers of a cluster are among those that run."""
    backends = cluster["name"].split(">")
    return all(name == API or name.split("/", 1)[1] in servers for name in backends)


def _preferred(route: ApplicationRoute, arm: Arm) -> list[str]:
    """Return who answers a request of this arm: its server, else another arm's, else the API."""
    others = [other for other in route.arms if other is not arm]
    return [*(backend_name(one) for one in (arm, *others)), API]


def _aggregate(name: str, members: list[str]) -> dict[str, Any]:
    kind = TYPE + "envoy.extensions.clusters.aggregate.v3.ClusterConfig"
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {"@type": kind, "clusters": members},
        },
        "circuit_breakers": {"thresholds": [_WIDE]},
        # What an answer says of a server's health is judged by the cluster that was routed to.
        "typed_extension_protocol_options": _protocol(),
    }


def _arm(arm: Arm) -> dict[str, Any]:
    return _backend(backend_name(arm), arm.host, arm.port)


def _mirror(mirror: Mirror) -> dict[str, Any]:
    cluster = _watched(_backend(mirror_name(mirror), mirror.host, mirror.port))
    return {**cluster, "circuit_breakers": {"thresholds": [_NARROW]}}


def _watched(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the cluster with what takes a broken server out: probes, and a look at its answers.

    A champion is not watched: a busy machine must not take away the only model.
    """
    return {
        **cluster,
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "2s",
                # Envoy's default asks once a minute until there is traffic.
                "no_traffic_interval": "2s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/healthz", "host": "localhost"},
            }
        ],
        "outlier_detection": {
            "consecutive_5xx": 5,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_percent": 100,
            "enforcing_success_rate": 0,
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _backend(name: str, host: str, port: int) -> dict[str, Any]:
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"hostname": name, "address": address(host, port)}}]}
            ],
        },
        "circuit_breakers": {"thresholds": [_WIDE]},
        "typed_extension_protocol_options": _protocol(),
    }


def _protocol() -> dict[str, Any]:
    options = {
        "@type": TYPE + _PROTOCOL,
        "common_http_protocol_options": {"idle_timeout": f"{_IDLE_SECONDS}s"},
        "explicit_http_config": {"http_protocol_options": {}},
        "outlier_detection": {"error_matcher": _ERRORS},
    }
    return {_PROTOCOL: options}
