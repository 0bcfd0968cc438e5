"""What Prometheus is told of rollouts: read from the registry when it asks."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from llm_assets.deployment.incidents import incidents_of
from llm_assets.errors import UserError
from llm_assets.installation import Installation


class RolloutMetrics(Collector):
    """Shares, holds, and incidents of all applications; one that cannot be read is left out."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics as they are now."""
        share = GaugeMetricFamily(
            "llm_assets_rollout_share",
            "Share of the users whom a challenger answers",
            labels=["application", "model_version", "step"],
        )
        holds = GaugeMetricFamily(
            "llm_assets_rollout_holds",
            "Whether a rollout holds; 2 once it has alerted",
            labels=["application"],
        )
        incidents = GaugeMetricFamily(
            "llm_assets_incidents", "Versions that were rolled back", labels=["application"]
        )
        for name in self._names():
            try:
                entry = self._installation.registry.entry(name)
                num_incidents = len(incidents_of(self._installation.home, name))
            except UserError:
                continue
            rollout, split = entry.rollout, entry.split
            if rollout is not None and split is not None:
                share.add_metric([name, rollout.challenger, rollout.step.stage], split.share)
            is_holding = rollout is not None and rollout.holding_since is not None
            has_alerted = rollout is not None and rollout.has_alerted
            holds.add_metric([name], float(is_holding + has_alerted))
            incidents.add_metric([name], float(num_incidents))
        yield from (share, holds, incidents)

    def _names(self) -> list[str]:
        try:
            return list(self._installation.applications())
        except UserError:
            return []
