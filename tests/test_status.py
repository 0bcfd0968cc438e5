"""What the status says of feedback that belongs to nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.feedback.log import LogWriter
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.feedback.unassigned import unassigned_log
from llm_assets.installation import Installation
from llm_assets.status import describe, gather
from llm_assets.storage import Partition
from tests.installations import an_installation
from tests.records import a_correction, an_interaction

OLD = datetime.now(UTC) - timedelta(days=20)


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model) as made:
        yield made


def test_orphans_are_counted_and_the_first_of_them_named(installation: Installation) -> None:
    day = Partition(application="helpdesk", date=OLD.date())
    asked = interaction_table([an_interaction("r0", time=OLD)])
    installation.table("interaction_logs").write(day, asked)
    given = [a_correction(f"f{n}", f"r{n}", "x", time=OLD) for n in range(8)]
    installation.table("feedback_logs").write(day, feedback_table(given))
    status = gather(installation.settings)
    orphans = {"num": 7, "ids": ["f1", "f2", "f3", "f4", "f5"]}
    assert status["applications"]["helpdesk"]["orphans"] == orphans
    assert "7 feedback whose request never came" in describe(status)


def test_feedback_that_no_application_knows_is_told(installation: Installation) -> None:
    status = gather(installation.settings)
    assert status["unassigned_feedback"] == {"num": 0, "ids": []}
    assert "no application knows" not in describe(status)
    writer = LogWriter(unassigned_log(installation.home), lambda record: record)
    writer.append([a_correction("f1", "elsewhere", "x")])
    status = gather(installation.settings)
    assert status["unassigned_feedback"] == {"num": 1, "ids": ["f1"]}
    assert "1 feedback of requests that no application knows" in describe(status)
