"""An installation and a Dagster instance for sensors to look at."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.installation import Installation
from tests.installations import an_installation


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    triggers = {"min_new_feedback": 5, "cooldown_hours": 24.0, "warm_up_hours": 24.0}
    drift = {"reference_days": 2, "min_prompts": 2, "windows": 3, "windows_needed": 2}
    with an_installation(tmp_path, tiny_base_model, triggers=triggers, drift=drift) as made:
        register_base_models(made)
        yield made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def context(installation: Installation, instance: dg.DagsterInstance) -> dg.SensorEvaluationContext:
    """Return a context that keeps its cursor from one look to the next."""
    return dg.build_sensor_context(instance, resources={"installation": installation})
