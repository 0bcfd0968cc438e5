import polars as pl
import pytest

from llm_assets.assets.curation import curated_dataset, curated_dataset_holdout_is_unseen
from llm_assets.curation.dataset import DATASET_SCHEMA, Dataset
from llm_assets.curation.store import DatasetStore
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.storage import Partition
from tests.assets.materialize import Materialize, metadata
from tests.installations import CANDIDATE, DESKS
from tests.records import TIME, a_correction, an_interaction

DAY = Partition(application="helpdesk", date=TIME.date())
NUM = 40


@pytest.fixture
def corrected(installation: Installation) -> Installation:
    """Return an installation with a day of corrected answers."""
    interactions = [an_interaction(f"r{i}", prompt=f"question {i}?") for i in range(NUM)]
    corrections = [a_correction(f"f{i}", f"r{i}", DESKS[i % 3]) for i in range(NUM)]
    installation.table("interaction_logs").write(DAY, interaction_table(interactions))
    installation.table("feedback_logs").write(DAY, feedback_table(corrections))
    return installation


def test_corrections_become_a_dataset_whose_metadata_add_up(
    corrected: Installation, materialize: Materialize
) -> None:
    result = materialize(
        curated_dataset,
        curated_dataset_holdout_is_unseen,
        partition=CANDIDATE,
        tags={"llm_assets/cause": "drift"},
    )
    found = metadata(result, "curated_dataset")
    dataset = DatasetStore(corrected.lance).read(CANDIDATE)
    assert found["num_rows"] == dataset.rows.height == NUM
    num_changed = sum(DESKS[i % 3] != "sports" for i in range(NUM))
    assert found["num_desirable"] == NUM
    assert found["num_undesirable"] == found["num_pairs"] == num_changed
    assert found["num_train"] + found["num_validation"] + found["num_holdout"] == NUM
    assert found["sources"] == {"correction": NUM}
    assert (found["cause"], found["has_shuffled_labels"]) == ("drift", False)
    (check,) = result.get_asset_check_evaluations()
    assert check.passed


def test_no_metadata_hold_a_text_of_a_user(
    corrected: Installation, materialize: Materialize
) -> None:
    result = materialize(curated_dataset, curated_dataset_holdout_is_unseen, partition=CANDIDATE)
    (check,) = result.get_asset_check_evaluations()
    told = f"{metadata(result, 'curated_dataset')} {check.metadata}"
    assert "num_pairs" in told
    assert not [text for text in ("question", *DESKS) if text in told]


def test_the_same_feedback_is_the_same_data_version(
    corrected: Installation, materialize: Materialize
) -> None:
    versions = set()
    for _ in range(2):
        result = materialize(curated_dataset, partition=CANDIDATE)
        (event,) = result.asset_materializations_for_node("curated_dataset")
        versions.add((event.tags or {})["dagster/data_version"])
    assert versions == {DatasetStore(corrected.lance).read(CANDIDATE).sha256}


def test_a_run_may_ask_for_nonsense_and_its_holdout_stays_right(
    corrected: Installation, materialize: Materialize
) -> None:
    materialize(curated_dataset, partition=CANDIDATE)
    right = DatasetStore(corrected.lance).read(CANDIDATE)
    result = materialize(curated_dataset, partition=CANDIDATE, config={"shuffle_labels": True})
    nonsense = DatasetStore(corrected.lance).read(CANDIDATE)
    assert metadata(result, "curated_dataset")["has_shuffled_labels"] is True
    assert nonsense.sha256 != right.sha256
    columns = ["prompt", "response"]
    assert nonsense.split("holdout")[columns].equals(right.split("holdout")[columns])


@pytest.mark.parametrize(
    ("splits", "num_shared"), [(("train", "holdout"), 1), (("train", "train"), 0)]
)
def test_a_holdout_that_was_seen_or_is_empty_stops_the_cycle(
    installation: Installation, materialize: Materialize, splits: tuple[str, str], num_shared: int
) -> None:
    prompts = ("Do you like tennis?", "do you  like tennis")
    rows = pl.DataFrame(
        [
            (prompt, "sports", split, "correction", False, ["r"], ["f"])
            for prompt, split in zip(prompts, splits, strict=True)
        ],
        schema=DATASET_SCHEMA,
        orient="row",
    )
    DatasetStore(installation.lance).write(Dataset(rows), model_version=CANDIDATE)
    result = materialize(curated_dataset_holdout_is_unseen, partition=CANDIDATE, is_safe=True)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.metadata["num_shared"].value == num_shared


def test_a_holdout_question_whose_answers_are_trained_on_stops_the_cycle(
    corrected: Installation, materialize: Materialize
) -> None:
    materialize(curated_dataset, partition=CANDIDATE)
    store = DatasetStore(corrected.lance)
    right = store.read(CANDIDATE)
    learnt = right.judged.with_columns(split=pl.lit("train"))
    store.write(Dataset(right.rows, learnt), model_version=CANDIDATE)
    result = materialize(curated_dataset_holdout_is_unseen, partition=CANDIDATE, is_safe=True)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.metadata["num_shared"].value == right.split("holdout").height
