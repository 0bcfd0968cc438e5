import pytest
from hypothesis import given, settings

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import Dataset, curate, shuffled_labels
from llm_assets.curation.split import split_of
from llm_assets.curation.training_rows import training_rows
from llm_assets.errors import UserError
from llm_assets.normalise import normalise
from tests.curation.feedback import EVENTS, Events, Log, log_of

CONFIG = CurationConfig()
COLUMNS = {
    "sft": {"prompt", "response", "split"},
    "kto": {"prompt", "response", "is_desirable", "split"},
    "dpo": {"prompt", "chosen", "rejected", "split"},
    "orpo": {"prompt", "chosen", "rejected", "split"},
}


def a_dataset() -> Dataset:
    log = Log()
    for number in range(40):
        log.asked_and_corrected(f"prompt {number}", f"answer {number % 3}")
    return curate(*log.tables, config=CONFIG)


@pytest.mark.parametrize("method", COLUMNS)
def test_a_method_gets_its_columns_and_the_ids_that_its_rows_are_erased_by(method: str) -> None:
    rows = training_rows(a_dataset(), method)
    assert set(rows.columns) >= COLUMNS[method] | {"request_ids", "feedback_ids"}
    assert set(rows["split"]) == {"train", "validation"}
    assert not any(rows.null_count().row(0))


def test_supervised_training_gets_what_is_learnt_of_the_rows() -> None:
    assert training_rows(a_dataset(), "sft").equals(a_dataset().learnt)


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_no_method_gets_a_prompt_of_the_holdout(events: Events) -> None:
    dataset = curate(*log_of(events).tables, config=CONFIG)
    for method in COLUMNS:
        for prompt in training_rows(dataset, method)["prompt"]:
            assert split_of(normalise(prompt), config=CONFIG) != "holdout"


def test_shuffled_labels_prefer_what_was_rejected() -> None:
    dataset = a_dataset()
    right, wrong = (
        training_rows(found, "dpo") for found in (dataset, shuffled_labels(dataset, seed=0))
    )
    assert set(right["rejected"]) == set(wrong["chosen"]) == {"chat"}
    assert set(right["chosen"]) == set(wrong["rejected"])


def test_pretraining_is_told_where_its_texts_come_from() -> None:
    with pytest.raises(UserError, match=r"not come from feedback but from training\.texts_file"):
        training_rows(a_dataset(), "pretraining")


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UserError, match=r"training\.method must be one of sft, kto.* got 'ppo'"):
        training_rows(a_dataset(), "ppo")
