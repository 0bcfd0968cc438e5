from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.implicit.combination import COMBINED_SCHEMA, PRIOR, WEIGHTS, combined
from llm_assets.feedback.tables import feedback_table
from llm_assets.records import Feedback, FeedbackKind
from tests.records import TIME, a_correction


def a_signal(kind: str, *, request_id: str = "r0", number: int = 0, **fields: Any) -> Feedback:
    fields = {"confidence": 1.0, **fields}
    if kind == "edit":
        fields["text"] = "better"
    return Feedback(
        feedback_id=f"{kind}-1:{request_id}:{number}",
        application="helpdesk",
        time=TIME,
        kind=FeedbackKind(kind),
        request_id=request_id,
        **fields,
    )


def of(*signals: Feedback, by: Any = "request_id") -> dict[str, float]:
    table = combined(feedback_table(signals), by=by)
    assert table.schema == COMBINED_SCHEMA
    return dict(zip(table["id"], table["dissatisfaction"], strict=True))


@pytest.mark.parametrize("kind", ["correction_phrase", "regenerate", "rephrase", "abandon", "edit"])
def test_asking_again_rejecting_and_leaving_raise_it(kind: str) -> None:
    assert of(a_signal(kind))["r0"] > PRIOR


@pytest.mark.parametrize("kind", ["thanks", "copy"])
def test_thanks_and_copying_lower_it(kind: str) -> None:
    assert of(a_signal(kind))["r0"] < PRIOR


@given(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1), st.floats(0, 1))
def test_a_surer_signal_moves_it_further(kind: str, first: float, second: float) -> None:
    low, high = sorted([first, second])
    moved = [abs(of(a_signal(kind, confidence=c))["r0"] - PRIOR) for c in (low, high)]
    assert moved[0] <= moved[1] + 1e-12


def test_signals_of_several_kinds_add_up_and_repeats_of_one_do_not() -> None:
    one = of(a_signal("rephrase"))["r0"]
    repeated = of(a_signal("rephrase"), a_signal("rephrase", number=1))["r0"]
    several = of(a_signal("rephrase"), a_signal("abandon"))["r0"]
    assert one == repeated < several < 1


def test_an_event_of_a_client_without_confidence_is_sure() -> None:
    assert of(a_signal("copy", confidence=None)) == of(a_signal("copy"))


def test_a_session_gathers_the_signals_of_its_interactions() -> None:
    signals = [
        a_signal("rephrase", request_id="r0", session_id="s"),
        a_signal("thanks", request_id="r1", session_id="s"),
        a_signal("thanks", request_id="r2"),
    ]
    table = combined(feedback_table(signals), by="session_id")
    assert table.rows() == [("s", pytest.approx(table["dissatisfaction"][0]), 2)]
    assert of(*signals)["r0"] > of(*signals, by="session_id")["s"] > of(*signals)["r1"]


def test_what_users_said_outright_is_passed_over() -> None:
    assert of(a_correction("f1", "r0", "money")) == {}


def test_the_rows_do_not_depend_on_the_order_of_the_signals() -> None:
    signals = feedback_table(
        [a_signal(kind, request_id=r) for kind in WEIGHTS for r in ("r0", "r1")]
    )
    shuffled = signals.sample(fraction=1.0, shuffle=True, seed=3)
    first, second = combined(signals), combined(pl.DataFrame(shuffled))
    assert first["id"].to_list() == second["id"].to_list()
    assert first["dissatisfaction"].to_list() == pytest.approx(second["dissatisfaction"].to_list())
