"""Envoy's files: what it starts with, and the resources that are renamed into a watched folder."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_assets.storage import write_json_atomically

TYPE = "type.googleapis.com/"
HTTP_FILTER = TYPE + "envoy.extensions.filters.http."
# The cluster of the API process, and the route of all that is no chat.
API = "api"


def bootstrap(folder: Path) -> dict[str, Any]:
    """Return the file that Envoy starts with; all else it reads from the folder and watches."""
    paths = ("/ready", "/listeners", "/stats", "/reopen_logs")
    return {
        "node": {"id": "gateway", "cluster": "llm-assets"},
        "admin": {
            "address": address("127.0.0.1", 0),
            "allow_paths": [{"prefix": path} for path in paths],
        },
        "dynamic_resources": {
            "lds_config": watched(folder, "lds.json"),
            "cds_config": watched(folder, "cds.json"),
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": TYPE + "envoy.extensions.resource_monitors."
                        "downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 10_000,
                    },
                }
            ]
        },
    }


def version_of(resources: Sequence[Any]) -> str:
    """Return the version that Envoy will report for a file: a hash of its content."""
    return hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]


def publish(folder: Path, name: str, resources: Sequence[Any]) -> None:
    """Rename a file into the place where Envoy sees it: `cds`, `lds`, or `rds`."""
    content = {"version_info": version_of(resources), "resources": resources}
    write_json_atomically(folder / f"{name}.json", content)


def address(host: str, port: int) -> dict[str, Any]:
    """Return where a socket listens."""
    return {"socket_address": {"address": host, "port_value": port}}


def watched(folder: Path, name: str) -> dict[str, Any]:
    """Return the source of a kind of resources: a file that is read again when it is replaced."""
    source = {"path": str(folder / name), "watched_directory": {"path": str(folder)}}
    return {"resource_api_version": "V3", "path_config_source": source}
