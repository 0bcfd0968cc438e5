"""An installation whose first version serves and whose second is registered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.installation import Installation
from tests.deployment.rollouts import START
from tests.evaluation.reports import a_report
from tests.installations import CANDIDATE, DESKS, VERSION, an_installation


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model) as made:
        registry = made.registry
        for version in (VERSION, CANDIDATE):
            registry.register("helpdesk", version, time=START, reason="", run_id=None)
        registry.promote("helpdesk", VERSION, time=START, reason="", run_id=None)
        yield made


@pytest.fixture
def passed(installation: Installation) -> Installation:
    """Return the installation with a report that the gate passes."""
    targets = [desk for desk in DESKS for _ in range(10)]
    report = a_report(targets, [True] * len(targets), [False] * len(targets))
    report.write(installation.report(CANDIDATE))
    return installation
