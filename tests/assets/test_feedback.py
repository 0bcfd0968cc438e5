from datetime import timedelta

from llm_assets.assets.feedback import feedback_logs, interaction_logs
from llm_assets.feedback.log import LogWriter
from llm_assets.installation import Installation
from llm_assets.storage import Partition
from tests.assets.materialize import Materialize
from tests.records import TIME, a_correction, an_interaction

DAY = TIME.date()
LATER = DAY + timedelta(days=2)


def test_days_with_records_become_tables_and_empty_days_do_not(
    installation: Installation, materialize: Materialize
) -> None:
    late = TIME + timedelta(days=2)
    LogWriter(installation.interaction_log).append(
        [an_interaction("r1"), an_interaction("r2"), an_interaction("r3", time=late)]
    )
    LogWriter(installation.feedback_log).append([a_correction("f1", "r1", "money", time=late)])
    result = materialize.days(DAY, LATER, interaction_logs, feedback_logs)
    assert installation.table("interaction_logs").dates("helpdesk") == [DAY, LATER]
    assert installation.table("feedback_logs").dates("helpdesk") == [LATER]
    assert installation.interactions("helpdesk")["request_id"].to_list() == ["r1", "r2", "r3"]
    assert installation.feedback("helpdesk", LATER, LATER)["request_id"].to_list() == ["r1"]
    assert installation.interactions("helpdesk", last=DAY).height == 2
    counts = {
        event.partition: event.metadata["dagster/partition_row_count"].value
        for event in result.asset_materializations_for_node("interaction_logs")
    }
    assert counts == {
        "helpdesk|2026-03-01": 2,
        "helpdesk|2026-03-02": 0,
        "helpdesk|2026-03-03": 1,
    }


def test_a_line_that_cannot_be_read_is_counted_and_keeps_nothing_else_away(
    installation: Installation, materialize: Materialize
) -> None:
    LogWriter(installation.interaction_log).append([an_interaction("r1")])
    partition = Partition(application="helpdesk", date=DAY)
    (segment,) = installation.interaction_log.segments(partition)
    with segment.open("ab") as file:
        file.write(b'{"no": "record"}\n{"torn')
    result = materialize.days(DAY, DAY, interaction_logs)
    (event,) = result.asset_materializations_for_node("interaction_logs")
    assert event.metadata["num_bad_lines"].value == 1
    assert installation.interactions("helpdesk")["request_id"].to_list() == ["r1"]


def test_working_through_a_day_again_changes_nothing(
    installation: Installation, materialize: Materialize
) -> None:
    LogWriter(installation.interaction_log).append([an_interaction("r2"), an_interaction("r1")])
    partition = Partition(application="helpdesk", date=DAY)
    table = installation.table("interaction_logs")
    materialize.days(DAY, DAY, interaction_logs)
    before = table.generation(partition)
    LogWriter(installation.interaction_log).append([an_interaction("r1")])
    materialize.days(DAY, DAY, interaction_logs)
    after = table.generation(partition)
    assert before is not None
    assert after is not None
    assert after.sha256 == before.sha256
    assert len(after.inputs) == 2
