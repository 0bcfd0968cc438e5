import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.implicit import rules
from llm_assets.feedback.implicit.config import ImplicitConfig
from llm_assets.records import Feedback, Interaction
from tests.feedback.implicit.sessions import asked, sessions
from tests.records import TIME

CONFIG = ImplicitConfig()
QUESTION = "How do I reset my password?"
REPHRASED = "Where can I change my password?"
OTHER = "What is the capital of Peru?"


def signals(
    *interactions: Interaction, similarity: float = 0.0, threshold: float = 0.7
) -> list[Feedback]:
    """Return the signals where each candidate pair is as similar as told."""
    found = sessions(*interactions)
    candidates = rules.rephrase_candidates(found, config=CONFIG)
    similarities = {turn.request_id: similarity for turn, _ in candidates}
    return rules.find_signals(found, similarities, threshold=threshold, config=CONFIG)


def kinds(*prompts: Any, **options: float) -> list[tuple[str, str]]:
    return [(str(s.kind), str(s.request_id)) for s in signals(*asked(*prompts), **options)]


def test_a_signal_judges_the_earlier_answer_at_the_time_of_the_next_prompt() -> None:
    (signal,) = signals(*asked(QUESTION, REPHRASED, OTHER)[:2], similarity=0.85)[:1]
    assert signal.request_id == "s-0"
    assert (signal.session_id, signal.application) == ("s", "helpdesk")
    assert signal.time == TIME + timedelta(minutes=1)
    assert (signal.kind, signal.rule) == ("rephrase", "rephrase-1")
    assert signal.feedback_id == "rephrase-1:s-0"
    assert signal.confidence == pytest.approx(0.625)


def test_a_signal_holds_the_user_and_none_of_the_text() -> None:
    (signal,) = signals(*asked({"prompt": QUESTION, "user_id": "u7"}, "wrong", OTHER))
    assert signal.user_id == "u7"
    assert (signal.text, signal.name, signal.value) == (None, None, None)


@pytest.mark.parametrize(
    ("similarity", "threshold", "is_rephrase"),
    [(0.7, 0.7, True), (0.69, 0.7, False), (0.99, math.nan, False)],
)
def test_prompts_over_the_threshold_are_rephrased_and_none_without_one(
    similarity: float, threshold: float, is_rephrase: bool
) -> None:
    found = kinds(
        QUESTION,
        REPHRASED,
        {"prompt": "bye", "minute": 20},
        similarity=similarity,
        threshold=threshold,
    )
    assert (("rephrase", "s-0") in found) == is_rephrase


def test_thanks_in_between_or_in_front_keep_a_prompt_from_being_rephrased() -> None:
    assert kinds(QUESTION, "thanks!", REPHRASED, similarity=0.9)[0] == ("thanks", "s-0")
    assert ("rephrase", "s-0") not in kinds(QUESTION, "thanks!", REPHRASED, similarity=0.9)
    assert kinds(QUESTION, "Thanks! " + REPHRASED, similarity=0.9) == [("thanks", "s-0")]


def test_a_prompt_after_the_gap_is_a_new_question() -> None:
    late = {"prompt": REPHRASED, "minute": 11}
    assert kinds(QUESTION, late, similarity=0.9) == []
    assert kinds(QUESTION, {"prompt": QUESTION, "minute": 11}) == []


@pytest.mark.parametrize("again", [QUESTION, "how do I reset my PASSWORD", "try again"])
def test_the_same_prompt_again_is_regenerated_whatever_its_similarity(again: str) -> None:
    assert kinds(QUESTION, again, OTHER) == [("regenerate", "s-0")]


def test_short_prompts_repeat_without_meaning_anything() -> None:
    assert kinds("go on", "go on", "go on", OTHER) == []


def test_requests_in_parallel_react_to_nothing() -> None:
    slow = {"prompt": QUESTION, "latency_seconds": 90.0}
    assert kinds(slow, REPHRASED, OTHER, similarity=0.9, threshold=0.95) == []
    assert kinds(slow, QUESTION, OTHER) == []


def test_a_failed_request_that_a_client_repeats_is_no_signal() -> None:
    assert kinds({"prompt": QUESTION, "status": 503}, QUESTION, OTHER) == []


def test_a_correction_may_be_rephrased_as_well() -> None:
    found = kinds(
        QUESTION, "No, I meant: where do I change it?", OTHER, similarity=0.9, threshold=0.9
    )
    assert found[:2] == [("correction_phrase", "s-0"), ("rephrase", "s-0")]


def test_to_stop_asking_after_an_answer_is_no_signal() -> None:
    assert kinds(QUESTION) == []
    assert kinds(QUESTION, OTHER) == []


@pytest.mark.parametrize(
    ("last", "confidence"),
    [
        ({"status": 500, "response": ""}, 0.9),
        ({"response": "  "}, 0.9),
        ({"response": "I'm sorry, I can't help with that."}, 0.7),
        ({"finish_reason": "content_filter", "response": "Well"}, 0.7),
    ],
)
def test_to_leave_after_a_failure_an_empty_answer_or_a_refusal_is_to_abandon(
    last: dict[str, Any], confidence: float
) -> None:
    (signal,) = signals(*asked(OTHER, {"prompt": QUESTION, **last}))
    assert (signal.kind, signal.request_id) == ("abandon", "s-1")
    assert signal.confidence == confidence
    assert signal.time == TIME + timedelta(minutes=1, seconds=CONFIG.session_gap_seconds)


def test_to_leave_after_asking_again_is_to_abandon_but_unsurely() -> None:
    *_, signal = signals(*asked(QUESTION, REPHRASED), similarity=0.9)
    assert (signal.kind, signal.request_id, signal.confidence) == ("abandon", "s-1", 0.3)


def test_thanks_after_asking_again_are_no_abandoning() -> None:
    assert kinds(QUESTION, REPHRASED, "thank you", similarity=0.9) == [
        ("rephrase", "s-0"),
        ("thanks", "s-1"),
    ]


def test_thanks_whose_own_request_failed_are_no_abandoning() -> None:
    assert kinds(QUESTION, {"prompt": "thanks", "status": 500}) == [("thanks", "s-0")]


def test_a_session_that_is_taken_up_later_had_been_left() -> None:
    refusal = {"prompt": QUESTION, "response": "I cannot help with that."}
    assert kinds(refusal, {"prompt": OTHER, "minute": 29}) == []
    assert kinds(refusal, {"prompt": OTHER, "minute": 31}) == [("abandon", "s-0")]


def test_ids_are_the_same_every_time_and_short_enough_for_any_request() -> None:
    first, second = asked(QUESTION, "wrong")
    long = [
        Interaction(**{**_fields(first), "request_id": "x" * 200}),
        Interaction(**{**_fields(second), "request_id": "y" * 200}),
    ]
    once, twice = (signals(*long) for _ in range(2))
    assert once == twice
    assert all(len(signal.feedback_id) <= 200 for signal in once)
    assert once


def _fields(interaction: Interaction) -> dict[str, Any]:
    return {name: getattr(interaction, name) for name in interaction.__dataclass_fields__}


PROMPTS = st.sampled_from([QUESTION, REPHRASED, OTHER, "thanks", "wrong", "go on", "try again", ""])


@given(
    st.lists(
        st.tuples(PROMPTS, st.sampled_from([200, 500]), st.sampled_from(["", "Yes.", "I cannot"])),
        max_size=8,
    ),
    st.floats(0, 1),
)
def test_every_signal_is_unique_sure_and_about_an_interaction_before_it(
    turns: list[tuple[str, int, str]], similarity: float
) -> None:
    interactions = asked(
        *({"prompt": prompt, "status": status, "response": r} for prompt, status, r in turns)
    )
    found = signals(*interactions, similarity=similarity)
    times = {interaction.request_id: interaction.time for interaction in interactions}
    assert len({signal.feedback_id for signal in found}) == len(found)
    for signal in found:
        assert signal.kind.is_implicit
        assert signal.rule == rules.RULES[signal.kind]
        assert 0 < (signal.confidence or 0) <= 1
        assert signal.time > times[str(signal.request_id)]


def test_the_code_version_names_every_rule() -> None:
    assert set(rules.CODE_VERSION.split()) == set(rules.RULES.values())
    assert all(rule.startswith(f"{kind}-") for kind, rule in rules.RULES.items())
