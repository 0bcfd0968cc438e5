from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg
import pytest

from llm_assets.drift.scores import DriftScore, score_table
from llm_assets.feedback.tables import feedback_table
from llm_assets.installation import Installation
from llm_assets.sensors.cycle import deploy_sensor, drift_sensor, volume_sensor
from llm_assets.storage import Partition
from tests.installations import CANDIDATE, VERSION, helpdesk, write_application
from tests.records import a_correction
from tests.sensors.ticks import added_partitions, requested, skipped

NOW = datetime.now(UTC)


def score_days(installation: Installation, *is_drifted: bool, last: datetime = NOW) -> None:
    """Write the drift scores of days in a row, the last one today."""
    for number, drifted in enumerate(reversed(is_drifted)):
        score = DriftScore(
            detector="novelty",
            n=50,
            num_baseline=200,
            score=0.4 if drifted else 0.1,
            threshold=0.2,
            is_drifted=drifted,
        )
        day = (last - timedelta(days=number)).date()
        installation.table("drift_scores").write(
            Partition(application="helpdesk", date=day), score_table([score], model_version=VERSION)
        )


def correct(installation: Installation, num: int, *, time: datetime = NOW) -> None:
    """Write a day of corrections."""
    corrections = [a_correction(f"f{number}", "r", "money", time=time) for number in range(num)]
    partition = Partition(application="helpdesk", date=time.date())
    installation.table("feedback_logs").write(partition, feedback_table(corrections))


def start_cycle(instance: dg.DagsterInstance, request: dg.RunRequest) -> str:
    """Make the run that a sensor asked for, as Dagster's daemon would."""
    run = instance.create_run_for_job(
        _any_job(),
        tags={**request.tags, "dagster/partition": str(request.partition_key)},
        status=dg.DagsterRunStatus.STARTED,
    )
    return run.run_id


def _any_job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name="improvement_cycle")
    def improvement_cycle() -> None:
        nothing()

    return improvement_cycle


def test_drift_opens_one_cycle_that_says_why(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    score_days(installation, False, True, True)
    answer = drift_sensor(context)
    request = requested(answer)
    assert request.run_key == f"helpdesk:drift:{NOW.date()}"
    assert request.partition_key == CANDIDATE
    assert request.tags["llm_assets/application"] == "helpdesk"
    assert request.tags["llm_assets/cause"] == "drift"
    reason = request.tags["llm_assets/reason"]
    assert reason.startswith("2 of the last 3 windows drifted, the newest on")
    assert "novelty 0.4 is over the threshold 0.2, n=50" in reason
    assert added_partitions(answer) == {"model_version": [CANDIDATE]}


def test_the_same_drift_asked_again_has_the_same_run_key(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    score_days(installation, True, True)
    assert requested(drift_sensor(context)).run_key == requested(drift_sensor(context)).run_key


def test_while_a_cycle_is_open_there_is_no_second_one(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    score_days(installation, True, True)
    start_cycle(instance, requested(drift_sensor(context)))
    # Drift of later days is news, and still has to wait.
    score_days(installation, True, True, True, last=NOW + timedelta(days=3))
    assert "but a cycle is open" in skipped(drift_sensor(context))


def test_drift_that_a_cycle_has_answered_opens_no_other(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    score_days(installation, True, True)
    run_id = start_cycle(instance, requested(drift_sensor(context)))
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_failed(run)
    assert "no window with defined drift scores since the last cycle" in skipped(
        drift_sensor(context)
    )
    score_days(installation, True, True, last=NOW + timedelta(days=2))
    assert "the cooldown of 24 hours lasts until" in skipped(drift_sensor(context))


def test_a_version_name_is_used_once_even_if_its_cycle_failed(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("model_version", [VERSION, CANDIDATE, "bank-v0009"])
    score_days(installation, True, True)
    assert requested(drift_sensor(context)).partition_key == "helpdesk-v0003"


def test_without_drift_the_reason_has_the_numbers(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    score_days(installation, False, False, True)
    reason = skipped(drift_sensor(context))
    assert reason.startswith("helpdesk: 1 of the last 3 windows drifted, 2 needed")
    assert "0 new feedback of 5 needed" in reason


def test_enough_feedback_opens_a_cycle(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    correct(installation, 4)
    assert "4 new feedback of 5 needed" in skipped(volume_sensor(context))
    correct(installation, 5)
    # Each sensor starts the cycles of its own cause only.
    assert "5 new feedback, 5 needed" in skipped(drift_sensor(context))
    request = requested(volume_sensor(context))
    assert request.run_key == "helpdesk:volume:first"
    assert request.tags["llm_assets/cause"] == "volume"


def test_feedback_from_before_the_last_cycle_is_not_counted_again(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    correct(installation, 5, time=NOW - timedelta(minutes=1))
    start_cycle(instance, requested(volume_sensor(context)))
    assert "0 new feedback of 5 needed" in skipped(volume_sensor(context))


def test_an_application_that_is_served_elsewhere_is_only_watched(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    content = helpdesk(installation.base_model("helpdesk").path)
    del content["serving"]
    write_application(installation.settings.applications, "helpdesk", content)
    score_days(installation, True, True)
    reason = skipped(drift_sensor(context))
    assert reason == "helpdesk: is served elsewhere and only watched"


@pytest.mark.parametrize("is_known", [False, True])
def test_a_registered_version_is_deployed(
    context: dg.SensorEvaluationContext, instance: dg.DagsterInstance, is_known: bool
) -> None:
    if is_known:
        instance.add_dynamic_partitions("application", ["helpdesk"])
    instance.report_runless_asset_event(
        dg.AssetMaterialization("registered_model", partition=CANDIDATE)
    )
    (answer,) = cast(Iterable[Any], deploy_sensor(context))
    request = requested(answer)
    assert request.partition_key == "helpdesk"
    assert (request.run_key or "").startswith(f"deploy:{CANDIDATE}:")
    config = request.run_config["ops"]["deployed_endpoint"]["config"]
    assert config == {"model_version": CANDIDATE}
    assert added_partitions(answer) == {"application": ["helpdesk"]}
