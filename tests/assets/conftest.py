"""An installation whose base model serves, and a way to materialize one asset in it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.installation import Installation
from tests.assets.materialize import Materialize
from tests.installations import CANDIDATE, VERSION, an_installation


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model) as made:
        register_base_models(made)
        yield made


@pytest.fixture
def materialize(installation: Installation) -> Iterator[Materialize]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("application", ["helpdesk"])
        instance.add_dynamic_partitions("model_version", [VERSION, CANDIDATE])
        yield Materialize(installation, instance)
