"""The whole loop on a tiny random model: from log lines to a gate that refuses its candidate."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.curation.store import DatasetStore
from llm_assets.definitions import defs
from llm_assets.drift.baseline import BaselineStore
from llm_assets.errors import UserError
from llm_assets.evaluation.report import EvalReport
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest
from llm_assets.reproduce import reproduce_version
from llm_assets.storage import Partition, sha256_of
from tests.cycles import DAYS, PHRASES, SUBJECTS, add_partitions, execute, write_logs
from tests.installations import CANDIDATE, DESKS, VERSION, a_dagster_instance, an_installation


@dataclass(frozen=True)
class Cycle:
    """What is left of one cycle whose candidate was refused."""

    installation: Installation
    instance: dg.DagsterInstance
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def cycle(
    tmp_path_factory: pytest.TempPathFactory, tiny_base_model: BaseModelFile
) -> Iterator[Cycle]:
    folder = tmp_path_factory.mktemp("pipeline")
    with (
        an_installation(folder, tiny_base_model) as installation,
        a_dagster_instance(installation) as instance,
    ):
        register_base_models(installation)
        write_logs(installation)
        add_partitions(instance, VERSION, CANDIDATE)
        execute(instance, "daily_logs", days=True)
        execute(instance, "first_baseline", version=VERSION)
        execute(instance, "rescore_drift", days=True)
        result = execute(instance, "improvement_cycle", version=CANDIDATE)
        yield Cycle(installation, instance, result)


def _materialized(cycle: Cycle) -> set[str]:
    events = cycle.result.get_asset_materialization_events()
    return {event.asset_key.to_user_string() for event in events if event.asset_key is not None}


def test_a_random_model_is_refused_at_the_gate_and_the_champion_stays(cycle: Cycle) -> None:
    assert not cycle.result.success
    (gate,) = [
        evaluation
        for evaluation in cycle.result.get_asset_check_evaluations()
        if evaluation.check_name == "eval_report_beats_champion"
    ]
    assert not gate.passed
    assert "FAILED" in (gate.description or "")
    assert _materialized(cycle) == {
        "curated_dataset",
        "embedding_baseline",
        "hyperparameter_sweep",
        "finetuned_checkpoint",
        "eval_report",
    }
    assert cycle.installation.registry.champion("helpdesk") == VERSION


def test_days_are_scored_once_there_is_a_baseline(cycle: Cycle) -> None:
    table = cycle.installation.table("drift_scores")
    first, *others = (
        table.read(Partition(application="helpdesk", date=day.date())) for day in DAYS
    )
    assert first is not None
    assert first["score"].is_nan().all()
    assert f"belongs to the baseline of {VERSION}" in first["reason"][0]
    for scores in others:
        assert scores is not None
        assert scores["score"].is_not_nan().any()
        assert scores["num_baseline"].max() == len(SUBJECTS) * len(PHRASES)
    baselines = BaselineStore(cycle.installation.lance).model_versions("helpdesk")
    assert baselines == [VERSION, CANDIDATE]


def test_every_row_of_the_dataset_names_the_feedback_that_it_is_made_of(cycle: Cycle) -> None:
    rows = DatasetStore(cycle.installation.lance).read(CANDIDATE).rows
    assert rows.height == len(SUBJECTS) * len(PHRASES) * len(DAYS)
    assert set(rows["response"]) == set(DESKS)
    for row in rows.iter_rows(named=True):
        assert [name.replace("f", "r") for name in row["feedback_ids"]] == row["request_ids"]


def test_both_models_were_asked_the_same_holdout(cycle: Cycle) -> None:
    report = EvalReport.read(cycle.installation.report(CANDIDATE))
    dataset = DatasetStore(cycle.installation.lance).read(CANDIDATE)
    assert report.n == dataset.split("holdout").height
    assert report.dataset_sha256 == dataset.sha256
    assert (report.candidate.model_version, report.champion.model_version) == (CANDIDATE, VERSION)


def test_the_manifest_says_all_that_went_into_the_adapter(cycle: Cycle) -> None:
    installation = cycle.installation
    folder = installation.model(CANDIDATE)
    manifest = ModelManifest.read(folder)
    dataset = DatasetStore(installation.lance).read(CANDIDATE)
    application = installation.application("helpdesk")
    assert manifest.adapter_sha256 == sha256_of(folder / "adapter_model.safetensors")
    assert manifest.base_model_sha256 == application.base_model.resolve().sha256
    assert (manifest.dataset_version, manifest.dataset_sha256) == (CANDIDATE, dataset.sha256)
    assert manifest.run_id == cycle.result.run_id
    assert manifest.training is not None
    assert manifest.training["config"] == application.training.model_dump()
    assert manifest.seed == application.training.seed
    assert manifest.library_versions.keys() >= {"torch", "transformers", "peft", "deepspeed"}
    assert manifest.metrics["num_steps"] == application.training.max_steps
    assert manifest.metrics["num_train_rows"] == dataset.split("train").height
    assert [name for name, value in manifest.to_json().items() if value in (None, {}, "")] == []


def test_training_again_from_the_manifest_gives_the_same_weights(cycle: Cycle) -> None:
    result = reproduce_version(cycle.installation, CANDIDATE)
    assert result.is_equal
    assert result.changed_libraries == {}


def test_a_person_who_names_the_refused_version_cannot_deploy_it(cycle: Cycle) -> None:
    installation, now = cycle.installation, datetime.now(UTC)
    installation.registry.register("helpdesk", CANDIDATE, time=now, reason="by hand", run_id=None)
    with pytest.raises(UserError, match=f"{CANDIDATE}: the gate refused it"):
        defs.resolve_job_def("deploy_newest").execute_in_process(
            instance=cycle.instance,
            partition_key="helpdesk",
            run_config={"ops": {"deployed_endpoint": {"config": {"model_version": CANDIDATE}}}},
        )
    assert installation.registry.champion("helpdesk") == VERSION
