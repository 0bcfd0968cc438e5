import numpy as np
import pytest

from llm_assets.drift.detectors.calibration import Calibrated
from llm_assets.drift.detectors.refusals import is_refusal, refusal_rate, refusals
from llm_assets.drift.detectors.relabelling import relabelled
from llm_assets.intervals import wilson


@pytest.mark.parametrize(
    "response",
    [
        "Sorry, but I can't assist with that.",
        "I\u2019m sorry, but I can\u2019t help with this request.",
        "  I CANNOT provide the address of a private person.",
        "I am not able to answer questions about other customers.",
        "We won't be able to help you with that.",
        "I cannot in good conscience recommend this.",
        "I'm afraid I must respectfully decline.",
        "As an AI, I don't have access to your order.",
        "It would not be appropriate for me to comment on this.",
        "That would be against my guidelines.",
        "I'm just an AI, it's not within my programming or ethical guidelines to do so.",
        "Thank you for your message! Unfortunately, I am unable to process refunds.",
        "Es tut mir leid, dabei kann ich Ihnen leider nicht helfen.",
        "Ich kann Ihnen keine Auskunft zu diesem Konto geben.",
        "Je suis désolé, mais je ne peux pas vous aider avec cela.",
        "Je ne suis pas en mesure de répondre à cette question.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Desculpe, mas não posso ajudar com isso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Het spijt me, daar kan ik je niet mee helpen.",
        "Ik kan je daar helaas geen antwoord op geven.",
    ],
)
def test_an_answer_that_declines_is_found(response: str) -> None:
    assert is_refusal(response)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "tech_support",
        "I can help you with that.",
        "Sorry to hear that! Please restart the router.",
        "You cannot provide two addresses for one order.",
        "If the printer cannot connect, restart it.",
        "I couldn't find any flights, so here are the trains.",
        "The shop refused the payment because the card has expired.",
        "I can't stress enough that you should back up first.",
        "Sie können das später nicht rückgängig machen.",
        "Vous ne pouvez pas changer le nom du compte.",
        "No puedes cambiar la dirección después de la compra.",
        "Non posso crederci! Ecco la ricetta.",
        "Open the settings and choose your account. " * 8 + "I cannot help with more than that.",
    ],
)
def test_an_answer_that_answers_is_none(response: str) -> None:
    assert not is_refusal(response)


def test_no_answer_takes_long_to_judge() -> None:
    # Repeats that a pattern's optional parts could be split over in many ways.
    for repeated in ("i ", "i must politely ", "je ne peux pas ", "kann ich ihnen ", "not be "):
        assert not is_refusal(repeated * 10_000)


def test_more_refusals_are_found_and_fewer_are_not() -> None:
    usual = np.array([1] * 20 + [0] * 380, np.uint8)
    more = _rate(np.array([1] * 20 + [0] * 80, np.uint8), usual)
    assert more.score == pytest.approx(0.2)
    assert more.score > more.threshold
    assert more.effect_size == pytest.approx(0.15)
    assert more.interval == wilson(20, 100)
    fewer = _rate(np.zeros(100, np.uint8), usual)
    assert fewer.score == 0
    assert fewer.exceedance_rate == 1
    assert fewer.score <= fewer.threshold


def test_the_exceedance_rate_is_that_of_fishers_exact_test() -> None:
    from scipy import stats

    current, reference = np.array([1] * 6 + [0] * 34), np.array([1] * 8 + [0] * 112)
    # At least 6 of a day's 40 answers, of 14 refusals among all 160.
    exact = float(stats.hypergeom.sf(5, 160, 14, 40))
    found = _rate(current, reference).exceedance_rate
    # 5 standard errors over the 1,000 windows dealt out.
    assert found == pytest.approx(exact, abs=5 * (exact * (1 - exact) / 1000) ** 0.5)


def test_each_answer_is_judged_by_itself() -> None:
    assert refusals(["I can't help with that.", "Yes."]).tolist() == [1, 0]


def _rate(current: np.ndarray, reference: np.ndarray) -> Calibrated:
    rng = np.random.default_rng(0)
    labels = relabelled(len(current), len(reference), false_alarm_rate=0.01, rng=rng)
    result = refusal_rate(current, reference, labels, false_alarm_rate=0.01)
    assert isinstance(result, Calibrated)
    return result
