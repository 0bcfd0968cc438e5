import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from llm_assets.assets.evaluation import eval_report_beats_champion
from llm_assets.assets.partitions import applications, days_of_applications, model_versions
from llm_assets.definitions import defs

HEAVY = [
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "sentence_transformers",
    "lancedb",
    "matplotlib",
    "xllamacpp",
    "great_expectations",
    "datasets",
    "trl",
]

# Every asset with its group, its partitions, and what it is made of.
GRAPH = {
    "interaction_logs": ("feedback", days_of_applications, set()),
    "feedback_logs": ("feedback", days_of_applications, set()),
    "prompt_embeddings": ("drift", days_of_applications, {"interaction_logs"}),
    "embedding_baseline": ("drift", model_versions, {"prompt_embeddings", "curated_dataset"}),
    "drift_scores": ("drift", days_of_applications, {"prompt_embeddings", "embedding_baseline"}),
    "quality_scores": ("drift", days_of_applications, {"interaction_logs", "feedback_logs"}),
    "implicit_feedback": (
        "feedback",
        days_of_applications,
        {"interaction_logs", "prompt_embeddings"},
    ),
    "curated_dataset": ("curation", model_versions, {"interaction_logs", "feedback_logs"}),
    "hyperparameter_sweep": ("training", model_versions, {"curated_dataset"}),
    "finetuned_checkpoint": (
        "training",
        model_versions,
        {"curated_dataset", "hyperparameter_sweep"},
    ),
    "eval_report": ("evaluation", model_versions, {"finetuned_checkpoint"}),
    "registered_model": ("deployment", model_versions, {"eval_report"}),
    "deployed_endpoint": ("deployment", applications, {"registered_model"}),
}


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def _run(code: str, **variables: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


def test_the_definitions_load_without_a_heavy_library_and_without_a_valid_environment(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, llm_assets.definitions as d; d.defs.resolve_all_job_defs(); "
        f"print(sorted(set({sorted(HEAVY)}) & set(sys.modules)))"
    )
    home = tmp_path / "home"
    assert _run(code, LLM_ASSETS_HOME=str(home), LLM_ASSETS_PORT="no port") == "[]"
    assert not home.exists()


def test_the_graph_holds_the_assets_of_the_design(specs: dict[str, dg.AssetSpec]) -> None:
    assert set(specs) == set(GRAPH)


@pytest.mark.parametrize("name", GRAPH)
def test_an_asset_has_its_place_in_the_graph(specs: dict[str, dg.AssetSpec], name: str) -> None:
    group, partitions, parents = GRAPH[name]
    assert specs[name].group_name == group
    assert specs[name].partitions_def == partitions
    assert {dep.asset_key.to_user_string() for dep in specs[name].deps} == parents


@pytest.mark.parametrize("name", GRAPH)
def test_an_asset_says_what_it_is_and_whose(specs: dict[str, dg.AssetSpec], name: str) -> None:
    assert specs[name].description
    assert specs[name].owners == ["team:llm-platform"]
    # An entry of the registry is a file of our own; every other asset is made with something.
    assert bool(specs[name].kinds) == (name != "registered_model")


@pytest.mark.parametrize("name", GRAPH)
def test_many_days_are_one_run(name: str) -> None:
    policy = defs.resolve_assets_def(name).backfill_policy
    is_daily = GRAPH[name][1] is days_of_applications
    assert policy == (dg.BackfillPolicy.single_run() if is_daily else None)


def test_the_first_lock_of_a_deployment_is_a_blocking_check_of_each_version() -> None:
    (check,) = eval_report_beats_champion.check_specs
    assert check.asset_key == dg.AssetKey("eval_report")
    assert check.blocking
    # Without partitions of its own a check would speak of whichever version was judged last.
    assert check.partitions_def == model_versions


def test_the_second_lock_is_the_condition_of_registration(specs: dict[str, dg.AssetSpec]) -> None:
    condition = specs["registered_model"].automation_condition
    assert condition is not None
    labels = [child.get_label() for child in condition.children]
    assert "all_deps_blocking_checks_passed" in labels


def test_every_sensor_is_on_from_the_start() -> None:
    sensors = list(defs.sensors or [])
    assert {sensor.name for sensor in sensors} == {
        "new_logs_sensor",
        "first_baseline_sensor",
        "manual_sensor",
        "change_sensor",
        "quality_sensor",
        "drift_sensor",
        "volume_sensor",
        "deploy_sensor",
        "rollout_sensor",
        "registration_sensor",
    }
    assert all(s.default_status is dg.DefaultSensorStatus.RUNNING for s in sensors)


def test_a_cycle_ends_with_registration_and_leaves_deployment_to_a_run_of_its_own() -> None:
    cycle = defs.resolve_job_def("improvement_cycle").asset_layer.executable_asset_keys
    names = {key.to_user_string() for key in cycle}
    assert "registered_model" in names
    assert "deployed_endpoint" not in names
