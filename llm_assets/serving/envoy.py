"""Envoy's configuration: a plan rendered to its files, which are renamed into a watched folder.

Requests are routed on the `model` of their JSON body. Whatever is no chat request for a known
application goes to the API process, which answers it or says what is wrong.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_assets.routing import ApplicationRoute, Arm, RoutingPlan
from llm_assets.storage import write_json_atomically

_TYPE = "type.googleapis.com/"
_HTTP_FILTER = _TYPE + "envoy.extensions.filters.http."
_API = "api"
_CHAT_PATH = "/v1/chat/completions"
_METADATA = "llm_assets"
_VARIANT = "x-llm-assets-variant"

# The body is held until the model's name is known. What is larger than this gets a 413.
MAX_BODY_BYTES = 8 * 2**20
# Shorter than the keep-alive of any backend (uvicorn's default is 5 s), so that no request is sent
# into a connection that is just being closed.
_IDLE_SECONDS = 3
_API_TIMEOUT_SECONDS = 60
# The model server's own time-out has the better message, so it goes first.
_EXTRA_SECONDS = 5
# A refused connection has carried nothing, so it is safe to try again; all tries together last
# about 3 s, which is as long as a model server takes to come back.
_RETRY = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 9,
    "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
}


def bootstrap(folder: Path) -> dict[str, Any]:
    """Return the file that Envoy starts with; all else it reads from the folder and watches."""
    return {
        "node": {"id": "gateway", "cluster": "llm-assets"},
        "admin": {
            "address": _address("127.0.0.1", 0),
            "allow_paths": [{"prefix": path} for path in ("/ready", "/listeners", "/stats")],
        },
        "dynamic_resources": {
            "lds_config": _watched(folder, "lds.json"),
            "cds_config": _watched(folder, "cds.json"),
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": _TYPE + "envoy.extensions.resource_monitors."
                        "downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 10_000,
                    },
                }
            ]
        },
    }


def clusters(plan: RoutingPlan, *, api: tuple[str, int], draining: Sequence[Arm] = ()) -> list[Any]:
    """Return the backends: the API process and every arm, also those that only finish requests."""
    arms = {arm.model_version: arm for arm in (*draining, *plan.arms)}
    return [
        _cluster(_API, *api),
        *(_cluster(_name(arm), arm.host, arm.port) for _, arm in sorted(arms.items())),
    ]


def route_table(plan: RoutingPlan) -> list[Any]:
    """Return which request goes where."""
    routes = [_application_route(route) for route in plan.routes]
    api = {"cluster": _API, "timeout": f"{_API_TIMEOUT_SECONDS}s", "retry_policy": _RETRY}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [*routes, {"match": {"prefix": "/"}, "name": _API, "route": api}],
    }
    kind = _TYPE + "envoy.config.route.v3.RouteConfiguration"
    # Not validated against the clusters: those are published, and known to be taken, before.
    return [{"@type": kind, "name": "gateway", "virtual_hosts": [host]}]


def listeners(folder: Path, *, host: str, port: int) -> list[Any]:
    """Return the one address that clients use."""
    manager = {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager",
        "stat_prefix": "gateway",
        "use_remote_address": True,
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "early_header_mutation_extensions": [
            # A client's own id could collide with, or overwrite, that of a recorded interaction.
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": _TYPE + "envoy.extensions.http.early_header_mutation."
                    "header_mutation.v3.HeaderMutation",
                    "mutations": [{"remove": "x-request-id"}, {"remove": _VARIANT}],
                },
            }
        ],
        "rds": {"route_config_name": "gateway", "config_source": _watched(folder, "rds.json")},
        "http_filters": [
            _json_to_metadata(),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _HTTP_FILTER + "router.v3.Router"},
            },
        ],
        "local_reply_config": {
            "body_format": {
                "json_format": {
                    "error": {
                        "message": "gateway: %LOCAL_REPLY_BODY%",
                        "type": "gateway_error",
                        "param": None,
                        "code": "%RESPONSE_CODE%",
                    }
                }
            }
        },
    }
    return [
        {
            "@type": _TYPE + "envoy.config.listener.v3.Listener",
            "name": "gateway",
            "address": _address(host, port),
            "per_connection_buffer_limit_bytes": MAX_BODY_BYTES,
            # Otherwise a second gateway would take half of the connections instead of failing.
            "enable_reuse_port": False,
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": manager,
                        }
                    ]
                }
            ],
        }
    ]


def version_of(resources: Sequence[Any]) -> str:
    """Return the version that Envoy will report for a file: a hash of its content."""
    return hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]


def publish(folder: Path, name: str, resources: Sequence[Any]) -> None:
    """Rename a file into the place where Envoy sees it: `cds`, `lds`, or `rds`."""
    content = {"version_info": version_of(resources), "resources": resources}
    write_json_atomically(folder / f"{name}.json", content)


def _application_route(route: ApplicationRoute) -> dict[str, Any]:
    matched = {
        "path": _CHAT_PATH,
        "dynamic_metadata": [
            {
                "filter": _METADATA,
                "path": [{"key": "model"}],
                "value": {"string_match": {"exact": route.application}},
            }
        ],
    }
    if not route.arms:
        message = f"no model version serves application '{route.application}' yet"
        reply = {"status": 503, "body": {"inline_string": message}}
        return {"match": matched, "name": route.application, "direct_response": reply}
    seconds = route.timeout_seconds + _EXTRA_SECONDS
    action = {
        "weighted_clusters": {"clusters": [_weighted(arm) for arm in route.arms]},
        "timeout": f"{seconds:g}s",
        "retry_policy": _RETRY,
    }
    return {"match": matched, "name": route.application, "route": action}


def _weighted(arm: Arm) -> dict[str, Any]:
    header = {
        "header": {"key": _VARIANT, "value": arm.variant},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return {"name": _name(arm), "weight": arm.weight, "request_headers_to_add": [header]}


def _name(arm: Arm) -> str:
    # The port is part of the name: a server that comes back elsewhere is a new backend.
    return f"model/{arm.model_version}/{arm.port}"


def _cluster(name: str, host: str, port: int) -> dict[str, Any]:
    return {
        "@type": _TYPE + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
        "circuit_breakers": {
            # The default of 3 concurrent retries would fail requests while a server restarts.
            "thresholds": [{"max_requests": 1024, "max_retries": 1024}]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{_IDLE_SECONDS}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _json_to_metadata() -> dict[str, Any]:
    rule = {
        "selectors": [{"key": "model"}],
        "on_present": {"metadata_namespace": _METADATA, "key": "model"},
    }
    config = {
        "@type": _HTTP_FILTER + "json_to_metadata.v3.JsonToMetadata",
        "request_rules": {
            "rules": [rule],
            # What curl says of its body unless told otherwise is "form data".
            "allow_content_types_regex": {"regex": ".*"},
            "allow_empty_content_type": True,
        },
    }
    return {"name": "envoy.filters.http.json_to_metadata", "typed_config": config}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _watched(folder: Path, name: str) -> dict[str, Any]:
    source = {"path": str(folder / name), "watched_directory": {"path": str(folder)}}
    return {"resource_api_version": "V3", "path_config_source": source}
