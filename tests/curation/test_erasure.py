from collections.abc import Callable

import polars as pl

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import Dataset, curate
from llm_assets.curation.erasure import is_touched, num_touched, without
from llm_assets.curation.judged import pairs
from llm_assets.curation.votes import collect_votes
from llm_assets.erasures import Traces, text_hash
from tests.curation.feedback import Log

CONFIG = CurationConfig()


def a_log() -> Log:
    log = Log()
    log.asked_and_corrected("What is a loan?", "money")  # r0, f0
    log.asked_and_corrected("what is a loan", "money", days=1)  # r1, f1
    log.asked_and_corrected("who won the cup", "sports")  # r2, f2
    return log


def erased(
    *request_ids: str,
    feedback_ids: tuple[str, ...] = (),
    rows_of: Callable[[Dataset], pl.DataFrame] = lambda dataset: dataset.rows,
) -> pl.DataFrame:
    interactions, feedback = a_log().tables
    rows = rows_of(curate(interactions, feedback, config=CONFIG))
    gone = pl.col("request_id").is_in(request_ids) | pl.col("feedback_id").is_in(feedback_ids)
    votes, _ = collect_votes(interactions, feedback.filter(~gone), config=CONFIG)
    traces = Traces(
        request_ids=frozenset(request_ids),
        feedback_ids=frozenset(feedback.filter(gone)["feedback_id"]),
    )
    return without(rows, traces, votes=votes)


def test_a_row_that_is_the_users_alone_goes() -> None:
    assert erased("r2")["prompt"].to_list() == ["what is a loan"]


def test_a_row_that_others_stand_behind_stays_in_their_words() -> None:
    (row,) = erased("r1").filter(pl.col("response") == "money").to_dicts()
    assert row["prompt"] == "What is a loan?"
    assert (row["request_ids"], row["feedback_ids"]) == (["r0"], ["f0"])
    assert row["is_late"] is False


def test_a_request_whose_only_feedback_was_the_users_goes_too() -> None:
    assert erased(feedback_ids=("f2",))["prompt"].to_list() == ["what is a loan"]


def test_a_row_that_nobody_speaks_for_any_more_goes() -> None:
    interactions, feedback = a_log().tables
    rows = curate(interactions, feedback, config=CONFIG).rows
    traces = Traces(request_ids=frozenset({"r1"}))
    left = without(rows, traces, votes=pl.DataFrame(schema={"feedback_id": pl.String}))
    assert left["prompt"].to_list() == ["who won the cup"]


def test_a_text_of_the_user_that_got_into_anothers_row_is_found() -> None:
    interactions, feedback = a_log().tables
    rows = curate(interactions, feedback, config=CONFIG).rows
    traces = Traces(text_hashes=frozenset({text_hash("sports")}))
    assert rows.filter(is_touched(rows, traces))["prompt"].to_list() == ["who won the cup"]
    assert without(rows, Traces(), votes=pl.DataFrame()).equals(rows)


def test_a_judged_answer_stays_if_others_stand_behind_it_and_in_their_words() -> None:
    left = erased("r1", rows_of=lambda dataset: dataset.judged)
    columns = ("prompt", "response", "is_desirable", "request_ids")
    assert sorted(left.select(columns).rows()) == [
        ("What is a loan?", "chat", False, ["r0"]),
        ("What is a loan?", "money", True, ["r0"]),
        ("who won the cup", "chat", False, ["r2"]),
        ("who won the cup", "sports", True, ["r2"]),
    ]
    gone = erased("r2", rows_of=lambda dataset: dataset.judged)
    assert set(gone["prompt"]) == {"what is a loan"}


def test_a_pair_stays_if_others_stand_behind_both_of_its_answers() -> None:
    (row,) = (
        erased("r1", rows_of=lambda dataset: pairs(dataset.judged))
        .filter(pl.col("chosen") == "money")
        .to_dicts()
    )
    assert (row["prompt"], row["rejected"]) == ("What is a loan?", "chat")
    assert (row["request_ids"], row["feedback_ids"]) == (["r0"], ["f0"])
    gone = erased("r2", rows_of=lambda dataset: pairs(dataset.judged))
    assert gone["prompt"].to_list() == ["what is a loan"]


def test_a_pair_goes_if_nobody_else_stands_behind_one_of_its_answers() -> None:
    log = Log()
    log.thumb(log.ask("a", response="good"), 1)
    log.thumb(log.ask("a", response="bad"), -1)
    interactions, feedback = log.tables
    judged = curate(interactions, feedback, config=CONFIG).judged
    votes, _ = collect_votes(interactions, feedback.filter(request_id="r0"), config=CONFIG)
    traces = Traces(request_ids=frozenset({"r1"}))
    assert without(judged, traces, votes=votes)["response"].to_list() == ["good"]
    assert without(pairs(judged), traces, votes=votes).is_empty()


def test_a_text_of_the_user_is_found_in_each_column_of_a_pair() -> None:
    interactions, feedback = a_log().tables
    rows = pairs(curate(interactions, feedback, config=CONFIG).judged)
    for text, num_rows in (("who won the cup", 1), ("sports", 1), ("chat", 2), ("other", 0)):
        traces = Traces(text_hashes=frozenset({text_hash(text)}))
        assert is_touched(rows, traces).sum() == num_rows


def test_rows_that_are_not_made_of_feedback_are_nobodys() -> None:
    rows = pl.DataFrame({"text": ["sports"], "split": ["train"]})
    traces = Traces(text_hashes=frozenset({text_hash("sports")}))
    assert without(rows, traces, votes=pl.DataFrame()).equals(rows)


def test_a_prompt_is_counted_once_also_where_only_its_answers_were_judged() -> None:
    log = a_log()
    log.thumb(log.ask("only disliked"), -1)  # r3
    dataset = curate(*log.tables, config=CONFIG)
    splits = dict(dataset.judged.select("prompt", "split").iter_rows())
    for request_id, prompt in (("r2", "who won the cup"), ("r3", "only disliked")):
        found = num_touched(dataset, Traces(request_ids=frozenset({request_id})))
        assert found == {splits[prompt]: 1}
