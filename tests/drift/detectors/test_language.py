import numpy as np
import pytest

from llm_assets.drift.detectors.calibration import Calibrated
from llm_assets.drift.detectors.language import language_shares, language_shift, languages
from llm_assets.drift.detectors.relabelling import relabelled


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where can I change my delivery address?", "en"),
        ("Wo kann ich meine Lieferadresse ändern?", "de"),
        ("Où puis-je changer mon adresse de livraison ?", "fr"),
        ("¿Dónde puedo cambiar mi dirección de entrega?", "es"),
        ("配送先の住所を変更したいです", "ja"),
        ("Где я могу изменить адрес доставки?", "ru"),
        ("ok", "und"),
        ("thx", "und"),
        ("👍👍", "und"),
        ("4711 0815", "und"),
        ("550e8400-e29b-41d4-a716-446655440000", "und"),
        ("", "und"),
        # Half of a surrogate pair, which a broken client may send.
        ("\ud83d", "und"),
    ],
)
def test_the_language_is_told_where_it_can_be(text: str, language: str) -> None:
    assert languages([text]) == [language]


def test_shares_sum_to_one_and_the_most_frequent_comes_first() -> None:
    shares = language_shares(["Where is my order?"] * 3 + ["Wo ist meine Bestellung?"] + ["ok"])
    assert shares == {"en": 0.6, "de": 0.2, "und": 0.2}
    assert next(iter(shares)) == "en"


def test_no_texts_have_no_shares() -> None:
    assert language_shares([]) == {}


def test_a_language_that_nobody_asked_in_is_found() -> None:
    result = _shift(["en"] * 90 + ["tr"] * 10, ["en"] * 390 + ["und"] * 10)
    assert result.score > result.threshold
    assert 0 < result.interval.low < result.score < result.interval.high
    # 10 of 100 texts would have to change, and chance alone asks that of 1 or 2.
    assert 0.07 < result.effect_size < 0.095


def test_one_language_throughout_is_no_shift_and_no_certainty() -> None:
    result = _shift(["en"] * 40, ["en"] * 100)
    assert result.score == 0
    assert result.score <= result.threshold
    assert result.exceedance_rate == 1
    assert result.interval.low == 0
    assert result.interval.high > 0.01


def _shift(current: list[str], reference: list[str]) -> Calibrated:
    rng = np.random.default_rng(0)
    labels = relabelled(len(current), len(reference), false_alarm_rate=0.01, rng=rng)
    result = language_shift(current, reference, labels, false_alarm_rate=0.01)
    assert isinstance(result, Calibrated)
    return result
