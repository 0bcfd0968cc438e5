"""Envoy's listener: the one address of clients, and what happens to a request before its route."""

from pathlib import Path
from typing import Any

from llm_assets.serving.envoy.files import HTTP_FILTER, TYPE, address, watched
from llm_assets.serving.envoy.stickiness import METADATA, SELECTORS, script
from llm_assets.serving.headers import RATE_LIMITED, REQUEST_ID, TRIAL, USER, VARIANT

# The body is held until the model's name is known, and to be sent again or copied. What is larger
# than this gets a 413.
MAX_BODY_BYTES = 8 * 2**20
# A client's own id could collide with, or overwrite, that of a recorded interaction; the others are
# ours to set.
_OURS = (REQUEST_ID, VARIANT, TRIAL, USER)
# One line for each try of a chat request, as `serving.attempts` reads it. Nothing that a client
# wrote is among it.
_ATTEMPT = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%E6SZ)%",
    "request_id": f"%REQ({REQUEST_ID})%",
    "application": "%ROUTE_NAME%",
    "variant": f"%REQ({VARIANT})%",
    "trial": f"%REQ({TRIAL})%",
    # The cluster that was routed to is the arm's; the host bears the name of its own cluster.
    "cluster": "%UPSTREAM_HOST_NAME%",
    # %UPSTREAM_REQUEST_ATTEMPT_COUNT% is 0 here.
    "attempt": "%REQ(X-ENVOY-ATTEMPT-COUNT)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "rate_limited": f"%RESP({RATE_LIMITED})%",
    "milliseconds": "%DURATION%",
    "milliseconds_allowed": "%REQ(X-ENVOY-EXPECTED-RQ-TIMEOUT-MS)%",
}


def listeners(folder: Path, *, host: str, port: int, attempts: Path) -> list[Any]:
    """Return the one address that clients use; `attempts` gets a line for each try of a backend."""
    manager = {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager",
        "stat_prefix": "gateway",
        "use_remote_address": True,
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.http.early_header_mutation."
                    "header_mutation.v3.HeaderMutation",
                    "mutations": [{"remove": name} for name in _OURS],
                },
            }
        ],
        "rds": {"route_config_name": "gateway", "config_source": watched(folder, "rds.json")},
        "http_filters": [_json_to_metadata(), script(), _router(attempts)],
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
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return [
        {
            "@type": TYPE + "envoy.config.listener.v3.Listener",
            "name": "gateway",
            "address": address(host, port),
            "per_connection_buffer_limit_bytes": MAX_BODY_BYTES,
            # Otherwise a second gateway would take half of the connections instead of failing.
            "enable_reuse_port": False,
            "filter_chains": [{"filters": filters}],
        }
    ]


def _json_to_metadata() -> dict[str, Any]:
    config = {
        "@type": HTTP_FILTER + "json_to_metadata.v3.JsonToMetadata",
        "request_rules": {
            "rules": [_rule("model", ("model",)), *(_rule(*item) for item in SELECTORS.items())],
            # What curl says of its body unless told otherwise is "form data".
            "allow_content_types_regex": {"regex": ".*"},
            "allow_empty_content_type": True,
        },
    }
    return {"name": "envoy.filters.http.json_to_metadata", "typed_config": config}


def _rule(name: str, path: tuple[str, ...]) -> dict[str, Any]:
    return {
        "selectors": [{"key": key} for key in path],
        "on_present": {"metadata_namespace": METADATA, "key": name},
    }


def _router(attempts: Path) -> dict[str, Any]:
    file = {
        "@type": TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(attempts),
        "log_format": {"json_format": _ATTEMPT},
    }
    log = {
        "name": "envoy.access_loggers.file",
        "filter": {"header_filter": {"header": {"name": VARIANT, "present_match": True}}},
        "typed_config": file,
    }
    config = {"@type": HTTP_FILTER + "router.v3.Router", "upstream_log": [log]}
    return {"name": "envoy.filters.http.router", "typed_config": config}
