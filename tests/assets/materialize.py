"""Materializing one asset with its checks, as a run of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from llm_assets.assets.partitions import partition_key
from llm_assets.installation import Installation
from llm_assets.storage import Partition


@dataclass(frozen=True)
class Materialize:
    """Runs assets against an installation."""

    installation: Installation
    instance: dg.DagsterInstance

    def __call__(
        self,
        *assets: Any,
        partition: str | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        is_safe: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """Run the assets; where it is safe an error is in the result, otherwise it is raised."""
        ops = {} if config is None else {assets[0].op.name: {"config": dict(config)}}
        # As a tag and not as a key: a run of nothing but a check has no partitions to check it by.
        partition_tags = {} if partition is None else {"dagster/partition": partition}
        return dg.materialize(
            assets,
            selection=dg.AssetSelection.assets(*(a for a in assets if not _is_check(a)))
            | dg.AssetSelection.checks(*(a for a in assets if _is_check(a))),
            instance=self.instance,
            resources={"installation": self.installation},
            run_config={"ops": ops},
            tags={**partition_tags, **(tags or {})},
            raise_on_error=not is_safe,
        )

    def days(self, first: date, last: date, *assets: Any) -> dg.ExecuteInProcessResult:
        """Run the assets over days of the help desk."""
        ends = [
            str(partition_key(Partition(application="helpdesk", date=day))) for day in (first, last)
        ]
        names = [f"dagster/asset_partition_range_{end}" for end in ("start", "end")]
        return self(*assets, tags=dict(zip(names, ends, strict=True)))


def _is_check(asset: Any) -> bool:
    return isinstance(asset, dg.AssetChecksDefinition)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Return the metadata of an asset's only materialization as plain values."""
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}
