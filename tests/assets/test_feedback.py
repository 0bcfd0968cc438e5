from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from llm_assets.assets.feedback import (
    feedback_logs,
    feedback_logs_are_valid,
    feedback_logs_has_no_orphans,
    interaction_logs,
    interaction_logs_are_valid,
)
from llm_assets.assets.partitions import partition_key
from llm_assets.definitions import defs
from llm_assets.feedback.log import LogWriter, Record
from llm_assets.feedback.tables import interaction_table
from llm_assets.installation import Installation
from llm_assets.records import Feedback, Interaction
from llm_assets.storage import Partition
from tests.assets.materialize import Materialize
from tests.records import TIME, a_correction, an_interaction

DAY = TIME.date()
LATER = DAY + timedelta(days=2)
SECRET = "wonderful secret"


def log(installation: Installation, records: list[Interaction] | list[Feedback]) -> None:
    """Log records as they are."""

    def as_is(record: Record) -> Record:
        return record

    target = (
        installation.interaction_log
        if isinstance(records[0], Interaction)
        else installation.feedback_log
    )
    LogWriter(target, as_is).append(records)


def results(result: dg.ExecuteInProcessResult, check: str) -> dict[date, dg.AssetCheckEvaluation]:
    """Return what a check found of each day."""
    return {
        date.fromisoformat(str(evaluation.partition).split("|")[1]): evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == check
    }


def rows_of(evaluation: dg.AssetCheckEvaluation, table: str) -> list[dict[str, Any]]:
    """Return a table of a check's metadata."""
    value = evaluation.metadata[table]
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_days_with_records_become_tables_and_empty_days_do_not(
    installation: Installation, materialize: Materialize
) -> None:
    late = TIME + timedelta(days=2)
    log(installation, [an_interaction("r1"), an_interaction("r2"), an_interaction("r3", time=late)])
    log(installation, [a_correction("f1", "r1", "money", time=late)])
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
    log(installation, [an_interaction("r1")])
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
    log(installation, [an_interaction("r2"), an_interaction("r1")])
    partition = Partition(application="helpdesk", date=DAY)
    table = installation.table("interaction_logs")
    materialize.days(DAY, DAY, interaction_logs)
    before = table.generation(partition)
    log(installation, [an_interaction("r1")])
    materialize.days(DAY, DAY, interaction_logs)
    after = table.generation(partition)
    assert before is not None
    assert after is not None
    assert after.sha256 == before.sha256
    assert len(after.inputs) == 2


def test_each_day_of_a_run_has_its_own_result_and_only_bad_days_fail(
    installation: Installation, materialize: Materialize
) -> None:
    late = TIME + timedelta(days=2)
    log(installation, [an_interaction("r1", prompt=SECRET), an_interaction("r2", time=late)])
    log(installation, [an_interaction("r3", time=late, status=42, prompt=SECRET)])
    result = materialize.days(DAY, LATER, interaction_logs, interaction_logs_are_valid)
    found = results(result, "interaction_logs_are_valid")
    assert {day: evaluation.passed for day, evaluation in found.items()} == {
        DAY: True,
        DAY + timedelta(days=1): True,
        LATER: False,
    }
    assert found[LATER].severity is dg.AssetCheckSeverity.WARN
    broken = [row for row in rows_of(found[LATER], "rules") if not row["passed"]]
    assert {row["rule"] for row in broken} == {"status_is_http", "is_fresh"}
    assert [row["n"] for row in broken] == [2, 1]
    offending = rows_of(found[LATER], "offending_rows")
    assert {"rule": "status_is_http", "id": "r3", "value": "42"} in offending
    assert SECRET not in repr(list(result.all_events))


def test_the_result_of_a_day_replaces_the_plan_of_its_run(
    installation: Installation, materialize: Materialize
) -> None:
    log(installation, [an_interaction("r1")])
    materialize.days(DAY, LATER, interaction_logs, interaction_logs_are_valid)
    history = materialize.instance.event_log_storage.get_asset_check_execution_history(
        check_key=dg.AssetCheckKey(interaction_logs.key, "interaction_logs_are_valid"), limit=10
    )
    assert {str(record.partition): record.status.value for record in history} == {
        str(partition_key(Partition(application="helpdesk", date=day))): status
        for day, status in (
            (DAY, "FAILED"),  # the newest day is far in the past
            (DAY + timedelta(days=1), "SUCCEEDED"),
            (LATER, "SUCCEEDED"),
        )
    }


def test_rows_that_our_own_pipeline_got_wrong_are_an_error(
    installation: Installation, materialize: Materialize
) -> None:
    rows = interaction_table([an_interaction("r1", time=TIME + timedelta(days=1))])
    partition = Partition(application="helpdesk", date=DAY)
    installation.table("interaction_logs").write(partition, rows)
    result = materialize(interaction_logs_are_valid, partition=str(partition_key(partition)))
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR


def test_feedback_is_checked_against_the_requests_that_are_known(
    installation: Installation, materialize: Materialize
) -> None:
    log(installation, [an_interaction("r1", aliases=["trace"])])
    log(installation, [a_correction("f1", "trace", SECRET), a_correction("f2", "x", SECRET)])
    checks = (feedback_logs_are_valid, feedback_logs_has_no_orphans)
    result = materialize.days(DAY, DAY, interaction_logs, feedback_logs, *checks)
    valid = results(result, "feedback_logs_are_valid")[DAY]
    unknown = {"rule": "request_is_known", "id": "f2", "value": "1"}
    assert unknown in rows_of(valid, "offending_rows")
    orphans = results(result, "feedback_logs_has_no_orphans")[DAY]
    assert not orphans.passed
    assert orphans.severity is dg.AssetCheckSeverity.WARN
    assert orphans.metadata["num_orphans"].value == 1
    assert orphans.metadata["feedback_ids"].value == ["f2"]
    assert SECRET not in repr(list(result.all_events))


def test_feedback_that_still_waits_for_its_request_is_no_orphan(
    installation: Installation, materialize: Materialize
) -> None:
    now = datetime.now(UTC)
    log(installation, [a_correction("f1", "x", "money", time=now)])
    result = materialize.days(now.date(), now.date(), feedback_logs, feedback_logs_has_no_orphans)
    (evaluation,) = results(result, "feedback_logs_has_no_orphans").values()
    assert evaluation.passed
    assert evaluation.metadata["num_waiting"].value == 1


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("interaction_logs", "interaction_logs_are_valid"),
        ("feedback_logs", "feedback_logs_are_valid"),
        ("feedback_logs", "feedback_logs_has_no_orphans"),
    ],
)
def test_the_checks_run_with_the_daily_job(asset: str, name: str) -> None:
    selected = defs.resolve_job_def("daily_logs").asset_layer.asset_graph.asset_check_keys
    assert dg.AssetCheckKey(dg.AssetKey(asset), name) in selected
