import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import DATASET_SCHEMA, Dataset, curate, shuffled_labels
from llm_assets.curation.judged import JUDGED_SCHEMA
from llm_assets.errors import UserError
from llm_assets.normalise import normalise
from llm_assets.records import FeedbackKind
from tests.curation.feedback import Log

CONFIG = CurationConfig()


def curated(log: Log, *, golden: Sequence[str] = (), **config: Any) -> Dataset:
    return curate(*log.tables, config=CurationConfig(**config), golden=golden)


def only_row(dataset: Dataset) -> dict[str, Any]:
    assert dataset.rows.height == 1
    return dataset.rows.to_dicts()[0]


def test_a_correction_teaches_the_wanted_answer() -> None:
    log = Log()
    log.asked_and_corrected(" Do you like tennis? ", "sports", days=0.1)
    row = only_row(curated(log))
    assert row.pop("split") in {"train", "validation", "holdout"}
    assert row == {
        "prompt": "Do you like tennis?",
        "response": "sports",
        "source": "correction",
        "is_late": False,
        "request_ids": ["r0"],
        "feedback_ids": ["f0"],
    }


def test_a_thumb_up_teaches_the_given_answer_and_a_thumb_down_nothing() -> None:
    log = Log()
    log.thumb(log.ask("a", response="money"), 1)
    log.thumb(log.ask("b", response="money"), -1)
    row = only_row(curated(log))
    assert (row["prompt"], row["response"], row["source"]) == ("a", "money", "thumb_up")


def test_a_thumb_up_on_a_failed_request_confirms_nothing() -> None:
    log = Log()
    log.thumb(log.ask("a", response="money", status=503), 1)
    assert curated(log).rows.is_empty()


def test_the_latest_correction_of_a_request_wins_also_over_a_later_thumb() -> None:
    log = Log()
    request = log.ask("a")
    log.correct(request, "second", days=2)
    log.correct(request, "first", days=1)
    log.thumb(request, 1, days=3)
    row = only_row(curated(log))
    assert (row["response"], row["feedback_ids"]) == ("second", ["f0"])


def test_the_latest_thumb_of_a_request_wins() -> None:
    log = Log()
    request = log.ask("a")
    log.thumb(request, 1, days=0)
    log.thumb(request, -1, days=1)
    assert curated(log).rows.is_empty()


def test_requests_for_the_same_prompt_become_one_row_that_names_them_all() -> None:
    log = Log()
    log.asked_and_corrected("What is a quark?", "science")
    log.asked_and_corrected("what is a  quark", "Science", days=1)
    row = only_row(curated(log))
    assert (row["request_ids"], row["feedback_ids"]) == (["r0", "r1"], ["f0", "f1"])
    assert not row["is_late"]


def test_the_majority_settles_a_conflict_and_it_is_counted() -> None:
    log = Log()
    log.asked_and_corrected("a", "science", days=0)
    log.asked_and_corrected("a", "science", days=1)
    log.asked_and_corrected("a", "money", days=2)
    dataset = curated(log)
    row = only_row(dataset)
    assert (row["response"], row["request_ids"]) == ("science", ["r0", "r1"])
    assert dataset.left_out["num_conflicting_prompts"] == 1
    assert dataset.left_out["num_outvoted"] == 1


def test_a_tie_goes_to_a_correction_and_then_to_the_newest() -> None:
    log = Log()
    log.asked_and_corrected("a", "old", days=0)
    log.thumb(log.ask("a", response="confirmed"), 1, days=5)
    log.asked_and_corrected("b", "old", days=0)
    log.asked_and_corrected("b", "new", days=1)
    responses = curated(log).rows.select("prompt", "response").rows()
    assert responses == [("a", "old"), ("b", "new")]


def test_a_row_is_late_when_all_its_feedback_came_on_a_later_day() -> None:
    log = Log()
    log.asked_and_corrected("late", "x", days=2)
    log.asked_and_corrected("both", "x", days=2)
    log.asked_and_corrected("both", "x", days=0)
    late = dict(curated(log).rows.select("prompt", "is_late").rows())
    assert late == {"late": True, "both": False}


def test_what_is_left_out_is_counted() -> None:
    log = Log()
    log.asked_and_corrected("too late", "x", days=8)
    log.correct("unknown", "x")
    log.asked_and_corrected("  ", "x")
    log.asked_and_corrected("kept", "x", days=1)
    log.asked_and_corrected("newest", "x", days=6)
    dataset = curated(log, late_feedback_days=7, max_rows=1)
    assert only_row(dataset)["prompt"] == "newest"
    assert dataset.left_out == {
        "num_over_cap": 0,
        "num_unknown_requests": 1,
        "num_too_late": 1,
        "num_blank": 1,
        "num_conflicting_prompts": 0,
        "num_outvoted": 0,
        "num_over_max_rows": 1,
        "num_tied_answers": 0,
        "num_judged_over_max_rows": 3,
    }


def test_feedback_over_the_cap_of_its_user_is_left_out_and_counted() -> None:
    log = Log(max_per_user_and_day=1)
    request = log.ask("a")
    log.correct(request, "first")
    log.correct(request, "one too many", days=0.1)
    dataset = curated(log)
    assert only_row(dataset)["response"] == "first"
    assert dataset.left_out["num_over_cap"] == 1


@pytest.mark.parametrize("kind", [FeedbackKind.EDIT, FeedbackKind.PREFERENCE])
def test_an_edited_and_a_preferred_answer_teach_as_a_correction_does(kind: FeedbackKind) -> None:
    log = Log()
    request = log.ask("a")
    log.thumb(request, -1)
    log.prefer(request, "wanted", kind=kind)
    row = only_row(curated(log))
    assert (row["response"], row["source"]) == ("wanted", "correction")


def test_feedback_on_a_session_as_a_whole_teaches_no_answer() -> None:
    log = Log()
    log.ask("a", session_id="s")
    log.thumb(None, 1, session_id="s")
    dataset = curated(log)
    assert dataset.rows.is_empty()
    assert dataset.left_out["num_unknown_requests"] == 0


def test_nothing_gives_a_dataset_without_rows() -> None:
    dataset = curated(Log())
    assert (dataset.rows.schema, dataset.judged.schema) == (DATASET_SCHEMA, JUDGED_SCHEMA)
    assert dataset.summary()["num_rows"] == dataset.summary()["num_pairs"] == 0


def test_the_summary_counts_rows_by_split_source_and_response() -> None:
    log = Log()
    for i in range(20):
        log.asked_and_corrected(f"prompt {i}", "money" if i < 15 else "sports", days=i % 2)
    summary = curated(log).summary()
    assert summary["num_rows"] == 20
    assert summary["num_late"] == 10
    assert sum(summary[f"num_{split}"] for split in ("train", "validation", "holdout")) == 20
    assert summary["sources"] == {"correction": 20}
    assert summary["responses"] == {"money": 15, "sports": 5}
    assert summary["num_desirable"] == summary["num_undesirable"] == summary["num_pairs"] == 20


prompts = st.text("abAB ?!.é", max_size=6)
answers = st.sampled_from(["x", "y", "z"])
events = st.lists(st.tuples(prompts, answers, st.integers(0, 3), st.booleans()), max_size=30)


def log_of(events: list[tuple[str, str, int, bool]]) -> Log:
    log = Log()
    for prompt, answer, days, is_correction in events:
        request = log.ask(prompt, response=answer)
        if is_correction:
            log.correct(request, answer, days=days)
        else:
            log.thumb(request, 1, days=days)
    return log


@settings(max_examples=60, deadline=None)
@given(events, events)
def test_no_holdout_prompt_is_trained_on_now_or_later(
    first: list[tuple[str, str, int, bool]], more: list[tuple[str, str, int, bool]]
) -> None:
    held_out: set[str] = set()
    learnt: set[str] = set()
    for dataset in (curated(log_of(first)), curated(log_of(first + more))):
        for prompt, split in dataset.rows.select("prompt", "split").rows():
            (held_out if split == "holdout" else learnt).add(normalise(prompt))
        keys = [normalise(prompt) for prompt in dataset.rows["prompt"]]
        assert len(keys) == len(set(keys))
    assert not held_out & learnt


@settings(max_examples=40, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_the_dataset_does_not_depend_on_the_order_of_its_inputs(
    events: list[tuple[str, str, int, bool]], random: Any
) -> None:
    interactions, feedback = log_of(events).tables
    expected = curate(interactions, feedback, config=CONFIG)
    order = list(range(feedback.height))
    random.shuffle(order)
    shuffled = curate(interactions[::-1], feedback[order], config=CONFIG)
    assert shuffled.rows.equals(expected.rows)
    assert shuffled.judged.equals(expected.judged)
    assert shuffled.sha256 == expected.sha256


def a_dataset(num_rows: int = 40) -> Dataset:
    log = Log()
    for i in range(num_rows):
        log.asked_and_corrected(f"prompt {i}", f"answer {i % 3}")
    return curated(log)


def test_the_hash_follows_the_content_and_not_the_order() -> None:
    dataset = a_dataset()
    assert Dataset(dataset.rows[::-1], dataset.judged[::-1]).sha256 == dataset.sha256
    for name in ("rows", "judged"):
        changed = getattr(dataset, name).with_columns(response=pl.lit("x"))
        assert dataclasses.replace(dataset, **{name: changed}).sha256 != dataset.sha256


def test_without_judged_answers_the_hash_is_what_it_was_before_there_were_any() -> None:
    row = ("what is a loan é", "money", "train", "correction", False, ["r0"], ["f0"])
    dataset = Dataset(pl.DataFrame([row], schema=DATASET_SCHEMA, orient="row"))
    assert dataset.judged.schema == JUDGED_SCHEMA
    assert dataset.sha256 == "4e88f7c5daf192e35bbb8d85f43cc81e218c40d1b5a6530dfb6188b0f9671805"


def test_shuffled_labels_change_what_is_learnt_and_not_what_is_measured() -> None:
    dataset = a_dataset()
    shuffled = shuffled_labels(dataset, seed=1)
    assert shuffled.sha256 != dataset.sha256
    assert shuffled.sha256 == shuffled_labels(dataset, seed=1).sha256
    assert shuffled.split("holdout").equals(dataset.split("holdout"))
    for frame in (shuffled.rows, dataset.rows):
        assert frame.schema == DATASET_SCHEMA
    by_prompt = shuffled.rows.sort("prompt").drop("response")
    assert by_prompt.equals(dataset.rows.sort("prompt").drop("response"))
    assert shuffled.summary()["responses"] == dataset.summary()["responses"]


def test_shuffled_labels_turn_the_judgements_that_are_learnt() -> None:
    dataset = a_dataset()
    shuffled = shuffled_labels(dataset, seed=1)
    assert shuffled.judged.drop("is_desirable").equals(dataset.judged.drop("is_desirable"))
    is_turned = shuffled.judged["is_desirable"] != dataset.judged["is_desirable"]
    assert is_turned.equals(dataset.judged["split"] != "holdout")
    assert set(is_turned) == {True, False}


def test_labels_that_are_all_the_same_cannot_be_shuffled() -> None:
    log = Log()
    for i in range(10):
        log.asked_and_corrected(f"prompt {i}", "same")
    with pytest.raises(UserError, match="all training responses are the same"):
        shuffled_labels(curated(log), seed=0)


def test_prompts_of_golden_requests_are_held_out_of_rows_and_judged_answers_for_good() -> None:
    log = Log()
    prompts = [f"question {number}" for number in range(60)]
    for prompt in prompts:
        log.asked_and_corrected(prompt, "money")
    learnt = curated(log).learnt["prompt"].to_list()
    golden = log.ask(learnt[0].upper() + "?")
    dataset = curated(log, golden=[golden, "r-of-another-log"])
    for rows in (dataset.learnt, dataset.learnt_judged):
        assert sorted(set(rows["prompt"])) == sorted(learnt[1:])
    # Whoever failed at it, every later candidate is asked.
    assert learnt[0] in dataset.split("holdout")["prompt"]
    assert learnt[0] in dataset.judged.filter(pl.col("split") == "holdout")["prompt"]
    assert dataset.rows.height == len(prompts)


def test_without_golden_requests_nothing_is_otherwise() -> None:
    log = Log()
    log.asked_and_corrected("a", "money")
    assert curated(log, golden=[]).sha256 == curated(log).sha256
