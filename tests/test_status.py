"""What the status says of feedback that belongs to nothing, and of the next cycle."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.cycle_requests import request_cycle
from llm_assets.feedback.log import LogWriter
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.feedback.unassigned import unassigned_log
from llm_assets.installation import Installation
from llm_assets.status import describe, gather
from llm_assets.storage import Partition
from tests.installations import CANDIDATE, VERSION, an_installation, helpdesk, write_application
from tests.records import a_correction, an_interaction
from tests.rollouts.world import World

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


def test_the_budget_and_open_requests_are_told_beside_what_would_start(
    installation: Installation,
) -> None:
    register_base_models(installation)
    content = helpdesk(
        installation.base_model("helpdesk").path, triggers={"max_gpu_hours_per_month": 20.0}
    )
    write_application(installation.settings.applications, "helpdesk", content)
    request_id = request_cycle(installation.home, "helpdesk", "new desks", now=OLD)
    status = gather(installation.settings)
    told = status["applications"]["helpdesk"]
    assert told["budget"] == {"used_hours": 0, "expected_hours": 1.0, "max_hours": 20.0}
    assert told["requests"] == [{"request": request_id, "because": "new desks"}]
    assert (told["would_start"], told["cause"], told["brake"]) == (True, "manual", None)
    lines = describe(status).splitlines()
    assert "  requested: new desks" in lines
    assert "  0 of 20 GPU hours used in 30 days, a cycle takes about 1" in lines
    assert "  a cycle starts: requested: new desks" in lines


def test_without_a_limit_no_budget_is_told(installation: Installation) -> None:
    assert "GPU hours" not in describe(gather(installation.settings))


def test_a_damaged_version_is_the_reason_why_nothing_starts(installation: Installation) -> None:
    register_base_models(installation)
    (installation.model(VERSION) / "manifest.json").write_text("{")
    text = describe(gather(installation.settings))
    assert f"no cycle: cannot be decided: {installation.model(VERSION)}/manifest.json: " in text


def test_a_rollout_that_holds_is_told_with_its_reason(installation: Installation) -> None:
    register_base_models(installation)
    installation.registry.register("helpdesk", CANDIDATE, time=OLD, reason="", run_id=None)
    world = World(installation)
    world.configure(smoke=None, shadow=None)
    world.start()
    world.follow(ready=False, error="no such file")
    world.look()
    assert f"rollout of {CANDIDATE}: in canary 0.01\n" in describe(gather(installation.settings))
    world.look(120)
    told = "canary 0.01, holds: its server has not been ready for 120 s: no such file\n"
    assert told in describe(gather(installation.settings))
    world.look(3600)
    assert f"canary 0.01, ALERT: {told[13:]}" in describe(gather(installation.settings))
