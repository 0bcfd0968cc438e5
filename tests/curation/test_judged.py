from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import Dataset, curate
from llm_assets.curation.judged import JUDGED_SCHEMA, PAIRS_SCHEMA, pairs
from llm_assets.normalise import normalise
from llm_assets.records import FeedbackKind
from tests.curation.feedback import EVENTS, Events, Log, log_of


def curated(log: Log, **config: Any) -> Dataset:
    return curate(*log.tables, config=CurationConfig(**config))


def judged_in(log: Log, **config: Any) -> dict[str, bool]:
    """Return what was said of each answer to the only prompt of a log."""
    frame = curated(log, **config).judged
    assert frame["prompt"].n_unique() <= 1
    return dict(frame.select("response", "is_desirable").iter_rows())


def test_a_thumb_judges_the_answer_that_was_given() -> None:
    log = Log()
    log.thumb(log.ask("a", response=" money "), 1)
    log.thumb(log.ask("a", response="sports"), -1)
    assert judged_in(log) == {"money": True, "sports": False}


@pytest.mark.parametrize("kind", [FeedbackKind.CORRECTION, FeedbackKind.EDIT])
def test_a_corrected_answer_is_undesirable_and_the_wanted_one_desirable(
    kind: FeedbackKind,
) -> None:
    log = Log()
    log.prefer(log.ask("a", response="money"), "sports", kind=kind)
    assert judged_in(log) == {"sports": True, "money": False}


def test_of_a_preference_the_rejected_answer_is_undesirable_and_not_the_given_one() -> None:
    log = Log()
    request = log.ask("a", response="money")
    log.prefer(request, "money", kind=FeedbackKind.PREFERENCE, rejected="sports")
    assert judged_in(log) == {"money": True, "sports": False}


def test_a_row_names_the_prompt_and_all_that_is_behind_the_judgement() -> None:
    log = Log()
    log.thumb(log.ask("What is a loan?", response="Money."), -1)
    log.thumb(log.ask("what is a loan", response="money"), -1, days=1)
    log.thumb(log.ask("what is a LOAN", response="MONEY"), 1, days=2)
    (row,) = curated(log).judged.to_dicts()
    assert row == {
        "prompt": "what is a loan",
        "response": "money",
        "is_desirable": False,
        "split": row["split"],
        "request_ids": ["r0", "r1"],
        "feedback_ids": ["f0", "f1"],
    }


def test_only_the_last_word_on_a_request_counts() -> None:
    log = Log()
    request = log.ask("a", response="money")
    log.thumb(request, 1)
    log.correct(request, "science", days=1)
    log.correct(request, "sports", days=2)
    log.thumb(request, 1, days=3)
    assert judged_in(log) == {"sports": True, "money": False}


def test_an_answer_that_is_as_much_wanted_as_not_is_left_out_and_counted() -> None:
    log = Log()
    for value in (1, -1):
        log.thumb(log.ask("a", response="money"), value)
    log.thumb(log.ask("a", response="sports"), 1)
    assert judged_in(log) == {"sports": True}
    assert curated(log).left_out["num_tied_answers"] == 1


def test_who_wants_what_was_given_with_other_punctuation_is_not_against_it() -> None:
    log = Log()
    log.correct(log.ask("a", response="money"), "Money!")
    assert judged_in(log) == {"Money!": True}


def test_a_failed_request_was_given_no_answer_that_could_be_judged() -> None:
    log = Log()
    log.thumb(log.ask("a", response="failed", status=503), -1)
    log.correct(log.ask("a", response="failed too", status=503), "money")
    assert judged_in(log) == {"money": True}


def test_an_empty_answer_is_not_judged() -> None:
    log = Log()
    log.thumb(log.ask("a", response=" "), -1)
    log.correct(log.ask("a", response=""), "money")
    assert judged_in(log) == {"money": True}
    assert curated(log).left_out["num_blank"] == 1


def test_feedback_that_counts_for_no_row_counts_for_no_judged_answer() -> None:
    log = Log(max_per_user_and_day=1)
    late = log.ask("a", response="late")
    log.thumb(late, -1, days=8)
    log.thumb(None, -1, session_id="s")
    capped = log.ask("a", response="capped", user_id="ann")
    log.thumb(log.ask("a", response="counted", user_id="ann"), -1, days=0.1)
    log.thumb(capped, -1, days=0.2)
    log.ask("a", session_id="s")
    assert judged_in(log, late_feedback_days=7) == {"counted": False}


def test_of_too_many_judged_answers_the_newest_stay() -> None:
    log = Log()
    for number in range(4):
        log.thumb(log.ask("a", response=f"answer {number}"), -1, days=number)
    dataset = curated(log, max_rows=3)
    assert set(dataset.judged["response"]) == {"answer 1", "answer 2", "answer 3"}
    assert dataset.left_out["num_judged_over_max_rows"] == 1


def test_a_pair_is_a_wanted_beside_an_unwanted_answer_with_all_that_is_behind_both() -> None:
    log = Log()
    log.correct(log.ask("What is a loan?", response="sports"), "money")
    log.thumb(log.ask("what is a loan", response="science"), -1)
    log.thumb(log.ask("nobody disagreed", response="money"), 1)
    found = pairs(curated(log).judged).select("prompt", "chosen", "rejected", "request_ids")
    assert found.rows() == [
        ("What is a loan?", "money", "science", ["r0", "r1"]),
        ("What is a loan?", "money", "sports", ["r0"]),
    ]


def test_a_prompt_has_few_pairs_and_they_are_of_the_answers_that_most_stand_behind() -> None:
    log = Log()
    for number in range(6):
        for _ in range(number + 1):
            log.thumb(log.ask("a", response=f"good {number}"), 1)
            log.thumb(log.ask("a", response=f"bad {number}"), -1)
    found = pairs(curated(log).judged)
    assert found.select("chosen", "rejected").rows() == [
        ("good 5", "bad 5"),
        ("good 5", "bad 4"),
        ("good 4", "bad 5"),
        ("good 5", "bad 3"),
    ]


def test_answers_of_one_kind_make_no_pair() -> None:
    log = Log()
    log.thumb(log.ask("a", response="money"), 1)
    assert pairs(curated(log).judged).schema == PAIRS_SCHEMA
    assert pairs(curated(log).judged).is_empty()
    assert pairs(pl.DataFrame(schema=JUDGED_SCHEMA)).schema == PAIRS_SCHEMA


def balance(events: Events) -> Counter[tuple[str, str]]:
    """Return by how many votes each answer of each prompt is wanted more than not."""
    balances = Counter[tuple[str, str]]()
    for prompt, answer, kind, other in events:
        good = {"up": answer, "correct": other, "prefer": answer}.get(kind, "")
        bad = {"down": answer, "correct": answer, "prefer": other}.get(kind, "")
        key, good, bad = normalise(prompt), normalise(good), normalise(bad)
        if good:
            balances[key, good] += 1
        if bad and bad != good:
            balances[key, bad] -= 1
    return Counter({about: count for about, count in balances.items() if about[0]})


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_the_majority_judges_each_answer_once(events: Events) -> None:
    dataset = curated(log_of(events))
    found = {
        (normalise(prompt), normalise(response)): is_desirable
        for prompt, response, is_desirable in dataset.judged.select(
            "prompt", "response", "is_desirable"
        ).iter_rows()
    }
    assert len(found) == dataset.judged.height
    balances = balance(events)
    assert found == {about: count > 0 for about, count in balances.items() if count}
    assert dataset.left_out["num_tied_answers"] == list(balances.values()).count(0)


@settings(max_examples=60, deadline=None)
@given(EVENTS, EVENTS)
def test_a_prompt_is_in_one_split_for_good_in_both_tables(first: Events, more: Events) -> None:
    splits: dict[str, str] = {}
    for dataset in (curated(log_of(first)), curated(log_of(first + more))):
        for frame in (dataset.rows, dataset.judged):
            for prompt, split in frame.select("prompt", "split").iter_rows():
                assert splits.setdefault(normalise(prompt), split) == split


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_pairs_are_made_of_answers_of_one_prompt_and_are_few(events: Events) -> None:
    judged = curated(log_of(events)).judged
    said = {
        (normalise(row["prompt"]), row["response"]): row for row in judged.iter_rows(named=True)
    }
    found = pairs(judged)
    for pair in found.iter_rows(named=True):
        key = normalise(pair["prompt"])
        chosen, rejected = said[key, pair["chosen"]], said[key, pair["rejected"]]
        assert (chosen["is_desirable"], rejected["is_desirable"]) == (True, False)
        assert pair["split"] == chosen["split"] == rejected["split"]
        for name in ("request_ids", "feedback_ids"):
            assert pair[name] == sorted({*chosen[name], *rejected[name]})
    assert max(Counter(map(normalise, found["prompt"])).values(), default=0) <= 4
    assert found.unique(["prompt", "chosen", "rejected"]).height == found.height
    assert pairs(judged[::-1]).equals(found)
