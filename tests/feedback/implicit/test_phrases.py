import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.implicit import phrases


@pytest.mark.parametrize(
    "prompt",
    [
        "No, that's not what I meant",
        "that\N{RIGHT SINGLE QUOTATION MARK}s wrong",
        "That is incorrect. The capital is Canberra.",
        "wrong",
        "Sorry, I meant the other one",
        "you didn't answer my question",
        "it still doesn't work",
        "thanks, but that is still wrong",
        "This is not how it is spelled",
        "You're mistaken",
    ],
)
def test_a_prompt_that_rejects_the_answer_is_a_sure_correction(prompt: str) -> None:
    assert phrases.correction_confidence(prompt, answer="Sydney.") == 0.75


@pytest.mark.parametrize("prompt", ["No, make it shorter", "actually use metres", "nope. again"])
def test_a_mere_no_is_a_weak_correction_and_none_where_it_may_reply(prompt: str) -> None:
    assert phrases.correction_confidence(prompt, answer="Done.") == 0.25
    assert phrases.correction_confidence(prompt, answer="Done. Shall I go on?") is None


@pytest.mark.parametrize(
    "prompt",
    [
        "What is wrong with my code?",
        "Translate: that's wrong",
        "no thanks",
        "No problem!",
        "I didn't mean to offend you",
        "I meant to say good night",
        "It didn't work?",
        "nothing works here, why",
        "northern lights",
        "",
    ],
)
def test_other_prompts_are_no_correction(prompt: str) -> None:
    assert phrases.correction_confidence(prompt, answer="An answer.") is None


@pytest.mark.parametrize(
    ("prompt", "confidence"),
    [
        ("Thanks!", 0.9),
        ("Perfect, thank you so much", 0.9),
        ("ok thx", 0.9),
        ("great", 0.6),
        ("that worked", 0.25),
        ("Great. Now add a title", None),
        ("thank you letter to my boss", None),
        ("no thanks", None),
        ("Thanks, but it is not what I asked", None),
        ("thanksgiving recipes", None),
        ("good", 0.6),
        ("...", None),
        ("", None),
    ],
)
def test_thanks_are_seen_at_the_start_and_not_with_a_but(
    prompt: str, confidence: float | None
) -> None:
    assert phrases.thanks_confidence(prompt) == confidence


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I have no opinion.",
        "Unfortunately, I don't have access to your account.",
        "I don't know.",
    ],
)
def test_a_refusal_says_at_its_start_that_it_is_none(answer: str) -> None:
    assert phrases.is_refusal(answer)


@pytest.mark.parametrize("answer", ["Sorry is a board game.", "I can do that.", "", "Paris"])
def test_an_answer_is_no_refusal(answer: str) -> None:
    assert not phrases.is_refusal(answer)


@given(st.text(max_size=400), st.text(max_size=400))
def test_no_text_is_a_correction_and_thanks_or_breaks_a_rule(prompt: str, answer: str) -> None:
    found = phrases.correction_confidence(prompt, answer=answer)
    thanks = phrases.thanks_confidence(prompt)
    assert found in (None, 0.25, 0.75)
    assert thanks is None or 0 < thanks <= 1
    assert isinstance(phrases.asks_again(prompt), bool)
    assert isinstance(phrases.is_refusal(answer), bool)


def test_a_long_hostile_prompt_costs_next_to_nothing() -> None:
    prompt = "no, " * 100_000
    assert phrases.correction_confidence(prompt, answer=prompt) == 0.25
