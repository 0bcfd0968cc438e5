import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from llm_assets.bootstrap import register_base_models
from llm_assets.cycle_requests import open_requests, request_cycle
from llm_assets.deployment.steps import Step
from llm_assets.drift.config import Detector
from llm_assets.drift.scores import DriftScore, score_table
from llm_assets.feedback.tables import feedback_table
from llm_assets.installation import Installation
from llm_assets.sensors.cycle import (
    change_sensor,
    cycles_of,
    drift_sensor,
    manual_sensor,
    quality_sensor,
    volume_sensor,
)
from llm_assets.storage import Partition
from tests.installations import CANDIDATE, VERSION, helpdesk, write_application
from tests.records import a_correction
from tests.sensors.ticks import added_partitions, requested, skipped

NOW = datetime.now(UTC)


def score_days(installation: Installation, *is_drifted: bool, last: datetime = NOW) -> None:
    """Write the drift scores of days in a row, the last one today."""
    for number, drifted in enumerate(reversed(is_drifted)):
        score = DriftScore(
            detector=Detector.NOVELTY,
            n=50,
            num_baseline=200,
            score=0.4 if drifted else 0.1,
            threshold=0.2,
            decides=True,
            is_drifted=drifted,
        )
        day = (last - timedelta(days=number)).date()
        installation.table("drift_scores").write(
            Partition(application="helpdesk", date=day),
            score_table([score], model_version=VERSION, embedder="e"),
        )


def correct(installation: Installation, num: int, *, time: datetime = NOW) -> None:
    """Write a day of corrections."""
    corrections = [a_correction(f"f{number}", "r", "money", time=time) for number in range(num)]
    partition = Partition(application="helpdesk", date=time.date())
    installation.table("feedback_logs").write(partition, feedback_table(corrections))


def rate_day(installation: Installation, time: datetime, num_content: int, *, n: int) -> None:
    """Write the quality scores of a day of which `n` answers were judged."""
    row = ("satisfaction_rate", num_content / n, 0.0, 1.0, num_content, n)
    scores = pl.DataFrame([row], schema=_RATES, orient="row")
    partition = Partition(application="helpdesk", date=time.date())
    installation.table("quality_scores").write(partition, scores)


_RATES = ("metric", "value", "interval_low", "interval_high", "num_events", "n")


def start_cycle(instance: dg.DagsterInstance, request: dg.RunRequest) -> str:
    """Make the run that a sensor asked for, as Dagster's daemon would."""
    run = instance.create_run_for_job(
        _any_job(),
        tags={
            **request.tags,
            "dagster/partition": str(request.partition_key),
            "dagster/run_key": str(request.run_key),
        },
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
    assert reason.startswith("helpdesk: 0 verdicts in the last 7 days of 50 needed; ")
    assert "1 of the last 3 windows drifted, 2 needed" in reason
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


def test_a_persons_request_opens_one_cycle_and_is_closed_by_it(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    first = request_cycle(installation.home, "helpdesk", "new desks", now=NOW)
    request_cycle(installation.home, "helpdesk", "and faster", now=NOW)
    request = requested(manual_sensor(context))
    assert request.run_key == f"helpdesk:manual:{first}"
    assert request.tags["llm_assets/cause"] == "manual"
    assert request.tags["llm_assets/reason"] == "requested: new desks"
    # Until its run is there the request stays open: a tick that fails is repeated.
    assert len(open_requests(installation.home, "helpdesk")) == 2
    assert requested(manual_sensor(context)).run_key == request.run_key
    start_cycle(instance, request)
    skipped(manual_sensor(context))
    assert open_requests(installation.home, "helpdesk") == []


def test_a_request_made_while_a_cycle_is_open_waits_for_the_next_one(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    request_cycle(installation.home, "helpdesk", "new desks", now=NOW)
    start_cycle(instance, requested(manual_sensor(context)))
    later = datetime.now(UTC) + timedelta(hours=1)
    request_cycle(installation.home, "helpdesk", "more desks", now=later)
    assert skipped(manual_sensor(context)) == "helpdesk: requested: more desks, but a cycle is open"
    (waiting,) = open_requests(installation.home, "helpdesk")
    assert waiting.because == "more desks"


def test_a_changed_prompt_opens_one_cycle_and_a_version_that_says_nothing_of_its_prompt_none(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    assert "made for" not in skipped(change_sensor(context))
    content = helpdesk(installation.base_model("helpdesk").path, system_prompt="Name the office.")
    write_application(installation.settings.applications, "helpdesk", content)
    request = requested(change_sensor(context))
    assert (request.run_key or "").startswith(f"helpdesk:change:{VERSION}:")
    assert request.tags["llm_assets/reason"] == f"not what {VERSION} was made for: system_prompt"
    path = installation.model(VERSION) / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["system_prompt_sha256"]
    path.write_text(json.dumps(manifest))
    assert "made for" not in skipped(change_sensor(context))


def test_less_content_users_open_a_cycle(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    for days_ago in range(20):
        rate_day(installation, NOW - timedelta(days=days_ago), 8 if days_ago < 7 else 19, n=20)
    request = requested(quality_sensor(context))
    assert request.run_key == "helpdesk:quality:first"
    reason = request.tags["llm_assets/reason"]
    assert reason.startswith("satisfaction 0.400 in the last 7 days, n=140, 0.950 before, n=260")


def test_the_budget_is_what_the_runs_of_the_application_took(
    installation: Installation, context: dg.SensorEvaluationContext, instance: dg.DagsterInstance
) -> None:
    triggers = {"max_gpu_hours_per_month": 0.5, "cooldown_hours": 0.0}
    content = helpdesk(installation.base_model("helpdesk").path, triggers=triggers)
    write_application(installation.settings.applications, "helpdesk", content)
    request_cycle(installation.home, "helpdesk", "new desks", now=NOW)
    reason = skipped(manual_sensor(context))
    assert reason.endswith("0 of 0.5 GPU hours were used in 30 days, and a cycle takes 1")
    start_cycle(instance, dg.RunRequest(tags={"llm_assets/application": "helpdesk"}))
    (cycle,) = cycles_of("helpdesk", instance)
    assert cycle.hours is None
    run = instance.get_runs()[0]
    instance.report_run_failed(run)
    (cycle,) = cycles_of("helpdesk", instance)
    assert cycle.hours is not None
    assert 0 <= cycle.hours < 0.1
    # It took next to nothing, and so will the next one.
    assert requested(manual_sensor(context))


def test_what_is_wrong_with_an_application_does_not_stop_the_others(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    content = helpdesk(installation.base_model("helpdesk").path)
    write_application(installation.settings.applications, "bank", content)
    register_base_models(installation)
    (installation.model("bank-v0001") / "manifest.json").write_text("{")
    score_days(installation, True, True)
    assert requested(drift_sensor(context)).tags["llm_assets/application"] == "helpdesk"
    assert "bank: cannot be decided: " in skipped(volume_sensor(context))


def test_no_cycle_starts_while_a_rollout_runs(
    installation: Installation, context: dg.SensorEvaluationContext
) -> None:
    score_days(installation, True, True)
    registry, steps = installation.registry, (Step(stage="canary", share=0.05),)
    registry.register("helpdesk", CANDIDATE, time=NOW, reason="", run_id=None)
    registry.begin("helpdesk", CANDIDATE, steps=steps, time=NOW, reason="")
    assert f"the rollout of {CANDIDATE} is in canary" in skipped(drift_sensor(context))
