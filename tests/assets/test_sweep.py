from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from llm_assets.assets.curation import curated_dataset, curated_dataset_holdout_is_unseen
from llm_assets.assets.sweep import hyperparameter_sweep
from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.curation.store import DatasetStore
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.storage import Partition
from llm_assets.training.sweep.result import Sweep, best_config
from tests.assets.materialize import Materialize, metadata
from tests.installations import CANDIDATE, DESKS, a_dagster_instance, an_installation
from tests.records import TIME, a_correction, an_interaction

NUM = 60
TRAINING = {
    "r": 4,
    "num_top_layers": 2,
    "max_steps": 3,
    "min_train_rows": 10,
    "compute": {"num_threads": 1},
}
SWEEP = {"max_steps": 6, "num_trials": 2, "space": {"learning_rate": [0.01]}}


@pytest.fixture
def swept(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    """Return an installation that sweeps, with a day of corrected answers."""
    sections = {"training": {**TRAINING, "sweep": SWEEP}}
    with an_installation(tmp_path, tiny_base_model, **sections) as installation:
        register_base_models(installation)
        day = Partition(application="helpdesk", date=TIME.date())
        interactions = [an_interaction(f"r{i}", prompt=f"question {i}?") for i in range(NUM)]
        corrections = [a_correction(f"f{i}", f"r{i}", DESKS[i % 3]) for i in range(NUM)]
        installation.table("interaction_logs").write(day, interaction_table(interactions))
        installation.table("feedback_logs").write(day, feedback_table(corrections))
        yield installation


@pytest.fixture
def run(swept: Installation) -> Iterator[Materialize]:
    with a_dagster_instance(swept) as instance:
        instance.add_dynamic_partitions("application", ["helpdesk"])
        instance.add_dynamic_partitions("model_version", [CANDIDATE])
        yield Materialize(swept, instance)


def _curate(run: Materialize) -> None:
    run(curated_dataset, curated_dataset_holdout_is_unseen, partition=CANDIDATE)


def _data_version(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.asset_materializations_for_node("hyperparameter_sweep")
    return (event.tags or {})["dagster/data_version"]


@pytest.mark.chaos
def test_a_sweep_ends_in_hyperparameters_for_the_training_of_its_dataset(
    swept: Installation, run: Materialize
) -> None:
    _curate(run)
    result = run(hyperparameter_sweep, partition=CANDIDATE)
    file = swept.home / "sweeps" / f"{CANDIDATE}.json"
    sweep = Sweep.read(file)
    dataset = DatasetStore(swept.lance).read(CANDIDATE)
    assert sweep.dataset_sha256 == dataset.sha256
    assert sweep.num_validation_rows == dataset.split("validation").height
    assert sweep.best.hyperparameters == {"learning_rate": 0.01}
    assert _data_version(result) == sweep.sha256
    config = swept.application("helpdesk").training
    assert best_config(config, file, dataset.sha256).learning_rate == 0.01

    found = metadata(result, "hyperparameter_sweep")
    assert found["best"] == sweep.best.hyperparameters
    assert found["improvement"] == pytest.approx(sweep.improvement)
    assert found["improvement"] > 0
    assert found["losses"].startswith("![validation loss")
    rows = [record.data for record in found["trials"].records]
    assert [row["learning_rate"] for row in rows] == [0.002, 0.01]
    assert [row["loss after 3 steps"] for row in rows] == [t.losses[0] for t in sweep.trials]
    assert not list((swept.home / "run" / "training" / CANDIDATE).glob("sweep"))

    again = run(hyperparameter_sweep, partition=CANDIDATE)
    assert _data_version(again) == sweep.sha256
    assert Sweep.read(file).seconds == sweep.seconds


def test_nothing_is_tried_before_the_holdout_is_known_to_be_unseen(
    swept: Installation, run: Materialize
) -> None:
    run(curated_dataset, partition=CANDIDATE)
    result = run(hyperparameter_sweep, partition=CANDIDATE, is_safe=True)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert "curated_dataset_holdout_is_unseen never ran" in (told.description or "")
    assert not (swept.home / "run" / "training").exists()


def test_a_training_without_a_sweep_costs_nothing_and_says_so(
    installation: Installation, materialize: Materialize
) -> None:
    result = materialize(hyperparameter_sweep, partition=CANDIDATE)
    assert metadata(result, "hyperparameter_sweep") == {
        "reason": "training.sweep is not set: nothing was tried, "
        "the training takes what is configured"
    }
    assert _data_version(result) == "no sweep"
    assert not (installation.home / "sweeps").exists()
    assert not (installation.home / "run" / "training").exists()
