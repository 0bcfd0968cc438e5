import os
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from llm_assets.drift.baseline import Baseline, BaselineStore
from llm_assets.drift.config import DriftConfig
from llm_assets.drift.scores import score_table, undefined_scores
from llm_assets.feedback.log import LogWriter
from llm_assets.feedback.tables import interaction_table
from llm_assets.installation import Installation
from llm_assets.sensors import logs, published
from llm_assets.sensors.logs import first_baseline_sensor, new_logs_sensor
from llm_assets.storage import MANIFEST, Partition, Table
from tests.installations import CANDIDATE, VERSION, helpdesk, write_application
from tests.records import TIME, a_correction, an_interaction
from tests.sensors.ticks import added_partitions, requested, skipped

NOW = datetime.now(UTC)
FIRST, LAST = (f"dagster/asset_partition_range_{end}" for end in ("start", "end"))


def ask(installation: Installation, request_id: str, *, time: datetime = TIME) -> None:
    LogWriter(installation.interaction_log, lambda record: record).append(
        [an_interaction(request_id, time=time)]
    )


def publish(installation: Installation, time: datetime) -> None:
    """Put a day with one interaction into the table."""
    partition = Partition(application="helpdesk", date=time.date())
    rows = interaction_table([an_interaction("r1", time=time)])
    installation.table("interaction_logs").write(partition, rows)


def score(installation: Installation, day: int, *, num_baseline: int) -> None:
    """Write a day whose drift is not defined."""
    found = undefined_scores(
        "no baseline yet", n=9, num_baseline=num_baseline, config=DriftConfig()
    )
    partition = Partition(application="helpdesk", date=TIME.date().replace(day=day))
    table = score_table(found, model_version=VERSION, embedder="e")
    installation.table("drift_scores").write(partition, table)


def write_baseline(installation: Installation, version: str = VERSION) -> None:
    baseline = Baseline(
        model_version=version, embedder="e", prompts=["a"], vectors=np.ones((1, 4), np.float32)
    )
    BaselineStore(installation.lance).write(baseline)


def test_a_growing_day_is_skipped_with_numbers(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    for number in range(3):
        ask(installation, f"r{number}")
        ask(installation, f"s{number}", time=TIME - timedelta(days=1))
        reason = skipped(new_logs_sensor(context))
        assert reason == "no day is due; 2 known, 2 still growing"


def test_a_quiet_day_is_asked_for_once(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    ask(installation, "r1")
    skipped(new_logs_sensor(context))
    answer = new_logs_sensor(context)
    request = requested(answer)
    assert (request.tags[FIRST], request.tags[LAST]) == (
        "helpdesk|2026-03-01",
        "helpdesk|2026-03-01",
    )
    assert request.tags["llm_assets/application"] == "helpdesk"
    assert added_partitions(answer) == {"application": ["helpdesk"]}
    assert skipped(new_logs_sensor(context)) == "no day is due; 1 known, 0 still growing"
    ask(installation, "r2")
    skipped(new_logs_sensor(context))
    assert requested(new_logs_sensor(context)).tags[LAST] == "helpdesk|2026-03-01"


def test_late_feedback_asks_for_the_days_before_it_but_none_before_the_first_request(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    ask(installation, "r1", time=TIME - timedelta(days=9))
    correction = a_correction("f1", "r1", "money", time=TIME)
    LogWriter(installation.feedback_log, lambda record: record).append([correction])
    skipped(new_logs_sensor(context))
    tags = requested(new_logs_sensor(context)).tags
    assert (tags[FIRST], tags[LAST]) == ("helpdesk|2026-02-20", "helpdesk|2026-03-01")


def test_a_log_of_an_unknown_application_is_passed_over(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    LogWriter(installation.interaction_log, lambda record: record).append(
        [an_interaction("r1", application="bank")]
    )
    for _ in range(3):
        assert skipped(new_logs_sensor(context)) == "no day is due; 0 known, 0 still growing"


def test_partitions_that_exist_are_not_added_again(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("application", ["helpdesk"])
    ask(installation, "r1")
    skipped(new_logs_sensor(context))
    assert added_partitions(new_logs_sensor(context)) == {"application": []}


@pytest.mark.parametrize(
    ("days_ago", "num"),
    [((), 0), ((3,), 1), ((1, 0), 2)],
    ids=["no day", "too few days", "the last one is today"],
)
def test_the_first_baseline_waits_for_its_reference_days(
    installation: Installation,
    context: dg.SensorEvaluationContext,
    days_ago: tuple[int, ...],
    num: int,
) -> None:
    for days in days_ago:
        publish(installation, NOW - timedelta(days=days))
    reason = skipped(first_baseline_sensor(context))
    assert reason.startswith(f"helpdesk: {num} of 2 reference days")


def test_the_first_baseline_is_asked_for_once_its_days_are_over(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    for days in (5, 2, 0):
        publish(installation, NOW - timedelta(days=days))
    answer = first_baseline_sensor(context)
    request = requested(answer)
    assert (request.job_name, request.partition_key) == ("first_baseline", VERSION)
    assert request.run_key == f"baseline:{VERSION}"
    assert added_partitions(answer) == {"model_version": [VERSION]}


def test_days_seen_before_the_baseline_are_scored_again_after_it(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    for day, num_baseline in ((1, 0), (2, 0), (3, 40)):
        score(installation, day, num_baseline=num_baseline)
    write_baseline(installation)
    request = requested(first_baseline_sensor(context))
    assert (request.job_name, request.run_key) == (
        "rescore_drift",
        f"rescore:{VERSION}:2026-03-02",
    )
    assert (request.tags[FIRST], request.tags[LAST]) == (
        "helpdesk|2026-03-01",
        "helpdesk|2026-03-02",
    )


def test_with_a_baseline_there_is_nothing_to_ask_for(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    write_baseline(installation)
    assert skipped(first_baseline_sensor(context)) == f"helpdesk: {VERSION} has a baseline"


def test_scores_are_looked_at_once_and_again_when_they_were_written_again(
    installation: Installation,
    context: dg.SensorEvaluationContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score(installation, 1, num_baseline=0)
    score(installation, 2, num_baseline=40)
    write_baseline(installation)
    assert requested(first_baseline_sensor(context)).job_name == "rescore_drift"
    # What was written a moment ago may have been written while it was looked at.
    assert requested(first_baseline_sensor(context)).job_name == "rescore_drift"
    table = installation.table("drift_scores")
    age(table, 1, seconds=1000)
    age(table, 2, seconds=1000)
    looked_at = reads(monkeypatch)
    assert "has a baseline" in skipped(first_baseline_sensor(context))
    score(installation, 2, num_baseline=0)
    assert requested(first_baseline_sensor(context)).run_key == f"rescore:{VERSION}:2026-03-02"
    assert looked_at == [[], [TIME.date().replace(day=2)]]


def test_a_new_champion_looks_at_all_days_once_more(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    score(installation, 1, num_baseline=0)
    age(installation.table("drift_scores"), 1, seconds=1000)
    write_baseline(installation)
    requested(first_baseline_sensor(context))
    skipped(first_baseline_sensor(context))
    registry = installation.registry
    for change in (registry.register, registry.promote):
        change("helpdesk", CANDIDATE, time=NOW, reason="better", run_id=None)
    write_baseline(installation, CANDIDATE)
    run_key = requested(first_baseline_sensor(context)).run_key
    assert run_key == f"rescore:{CANDIDATE}:2026-03-01"


def test_days_that_are_held_against_their_season_need_no_baseline(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    content = helpdesk(
        installation.base_model("helpdesk").path, drift={"reference": "same_weekday"}
    )
    write_application(installation.settings.applications, "helpdesk", content)
    score(installation, 1, num_baseline=0)
    write_baseline(installation)
    assert "has a baseline" in skipped(first_baseline_sensor(context))


def test_the_cursor_stays_small_however_many_days_there_are(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    for number in range(60):
        ask(installation, f"r{number}", time=TIME - timedelta(days=number))
    skipped(new_logs_sensor(context))
    requested(new_logs_sensor(context))
    assert len(context.cursor or "") == 32
    assert skipped(new_logs_sensor(context)) == "no day is due; 60 known, 0 still growing"


def age(table: Table, day: int, *, seconds: int) -> None:
    """Make a published day older."""
    partition = Partition(application="helpdesk", date=TIME.date().replace(day=day))
    path = table.root / partition.path / MANIFEST
    then = NOW.timestamp() - seconds
    os.utime(path, (then, then))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[date]]:
    """Return a list that fills with the days that are read."""
    found: list[list[date]] = []

    def read_days(table: Table, application: str, days: list[date], **options: Any) -> pl.DataFrame:
        found.append(list(days))
        return published.read_days(table, application, days, **options)

    monkeypatch.setattr(logs, "read_days", read_days)
    return found
