"""Everything that Dagster loads: assets, checks, jobs, sensors, resources."""

import dagster as dg

from llm_assets import assets
from llm_assets.resources.installation import installation
from llm_assets.resources.trainer import Trainer
from llm_assets.sensors import cycle, deployment, jobs, logs

defs = dg.Definitions(
    assets=dg.load_assets_from_package_module(assets),
    asset_checks=dg.load_asset_checks_from_package_module(assets),
    jobs=jobs.JOBS,
    sensors=[*logs.SENSORS, *cycle.SENSORS, *deployment.SENSORS],
    resources={"installation": installation, "trainer": Trainer()},
    executor=dg.in_process_executor,
)
