import polars as pl

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.dataset import curate
from llm_assets.curation.erasure import is_touched, without
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


def erased(*request_ids: str, feedback_ids: tuple[str, ...] = ()) -> pl.DataFrame:
    interactions, feedback = a_log().tables
    rows = curate(interactions, feedback, config=CONFIG).rows
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
