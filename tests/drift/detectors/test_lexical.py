from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.detectors import lexical
from llm_assets.drift.detectors.calibration import Calibrated, Undefined
from llm_assets.drift.detectors.lexical import Words, out_of_vocabulary, pool, token_js
from llm_assets.drift.detectors.relabelling import relabelled

_text = st.lists(st.sampled_from(list("abcdefgh")), min_size=1, max_size=4).map(" ".join)
_texts = st.lists(_text, min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Reset MY password, my PASSWORD!", ["reset", "my", "password"]),
        ("orders 17 and 2,500 of A1b", ["orders", "0", "and", "of", "a0b"]),
        ("\uff26\uff35\uff2c\uff2c width", ["full", "width"]),
        ("你好 API", ["你", "好", "api"]),
        ("Größe élève", ["größe", "élève"]),
        ("👍 ... !?", []),
    ],
)
def test_a_token_is_a_word_a_number_or_a_character_without_spaces(
    text: str, tokens: list[str]
) -> None:
    assert Words.of([text]).table["token"].to_list() == tokens


def test_only_the_start_of_a_pasted_file_is_read() -> None:
    pasted = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600))
    assert 250 < Words.of([pasted]).table.height < 350


@settings(max_examples=40, deadline=None)
@given(current=_texts, reference=_texts)
def test_scores_are_those_of_counting_by_hand(current: list[str], reference: list[str]) -> None:
    rng = np.random.default_rng(0)
    labels = relabelled(len(current), len(reference), false_alarm_rate=0.1, rng=rng)
    pooled = pool(Words.of(current), Words.of(reference))
    texts = [set(text.split()) for text in [*current, *reference]]
    mixes = token_js(pooled, labels, false_alarm_rate=0.1)
    unseen = out_of_vocabulary(pooled, labels, false_alarm_rate=0.1)
    assert isinstance(mixes, Calibrated)
    assert isinstance(unseen, Calibrated)
    assert mixes.score == pytest.approx(_divergence(texts, labels[0]), abs=1e-9)
    assert unseen.score == pytest.approx(_unseen(texts, labels[0]), abs=1e-9)
    null = [_unseen(texts, row) for row in labels[1:]]
    higher = sum(score >= unseen.score - 1e-9 for score in null)
    assert unseen.exceedance_rate == pytest.approx((1 + higher) / (1 + len(null)))
    assert unseen.effect_size == pytest.approx(unseen.score - np.mean(null), abs=1e-9)
    for result in (mixes, unseen):
        assert 0 <= result.interval.low <= result.score <= result.interval.high <= 1


@settings(max_examples=25, deadline=None)
@given(current=_texts, reference=_texts, limit=st.integers(1, 6))
def test_the_vocabulary_does_not_know_which_side_is_today(
    current: list[str], reference: list[str], limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "_MAX_VOCABULARY", limit)
        scores = []
        for mine, other in ((current, reference), (reference, current)):
            rng = np.random.default_rng(0)
            labels = relabelled(len(mine), len(other), false_alarm_rate=0.1, rng=rng)
            pooled = pool(Words.of(mine), Words.of(other))
            result = token_js(pooled, labels, false_alarm_rate=0.1)
            assert isinstance(result, Calibrated)
            scores.append(result.score)
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


def test_a_known_word_is_not_unseen_however_rare() -> None:
    reference = ["reset my password", "where is my order", "my order is late"]
    result = _unseen_of(["where is my password", "my password is late"], reference)
    assert result.score == 0
    assert result.interval.low == 0
    assert result.interval.high > 0.3  # of two texts


def test_words_that_nobody_used_before_are_found() -> None:
    reference = ["reset my password please", "where is my order now"] * 30
    current = reference[:40] + ["quantum flux capacitor broken"] * 10
    result = _unseen_of(current, reference)
    assert result.score == pytest.approx(0.2)
    assert result.score > result.threshold


@pytest.mark.parametrize("current", [["new a b", "x c d"], ["new", "x"]])
def test_shares_that_are_all_alike_are_no_certainty(current: list[str]) -> None:
    result = _unseen_of(current, ["a b", "c d"])
    assert result.interval.low <= result.score <= result.interval.high
    assert result.interval.high - result.interval.low > 0.3  # of two texts


@pytest.mark.parametrize(
    ("current", "reference", "reason"),
    [
        (["👍", "🎉", "!"], ["a b", "c"], "none of the 3 texts of the window hold a word"),
        (["a b", "c"], ["?", "!"], "none of the 2 texts of the reference hold a word"),
    ],
)
def test_texts_without_words_have_no_score(
    current: list[str], reference: list[str], reason: str
) -> None:
    rng = np.random.default_rng(0)
    labels = relabelled(len(current), len(reference), false_alarm_rate=0.1, rng=rng)
    pooled = pool(Words.of(current), Words.of(reference))
    for detector in (token_js, out_of_vocabulary):
        assert detector(pooled, labels, false_alarm_rate=0.1) == Undefined(reason)


def _unseen_of(current: list[str], reference: list[str]) -> Calibrated:
    rng = np.random.default_rng(0)
    labels = relabelled(len(current), len(reference), false_alarm_rate=0.01, rng=rng)
    pooled = pool(Words.of(current), Words.of(reference))
    result = out_of_vocabulary(pooled, labels, false_alarm_rate=0.01)
    assert isinstance(result, Calibrated)
    return result


def _sides(texts: list[set[str]], row: np.ndarray) -> tuple[list[set[str]], list[set[str]]]:
    mine = [text for text, label in zip(texts, row, strict=True) if label]
    other = [text for text, label in zip(texts, row, strict=True) if not label]
    return mine, other


def _unseen(texts: list[set[str]], row: np.ndarray) -> float:
    mine, other = _sides(texts, row)
    seen = set().union(*other)
    return sum(len(text - seen) / len(text) for text in mine) / len(mine)


def _divergence(texts: list[set[str]], row: np.ndarray) -> float:
    num_texts = Counter(token for text in texts for token in text)
    vocabulary = sorted(token for token, count in num_texts.items() if count > 1)
    mixes = []
    for side in _sides(texts, row):
        counts = Counter(token if token in vocabulary else "" for text in side for token in text)
        mixes.append([counts[token] for token in ["", *vocabulary]])
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(*mixes, base=2) ** 2)
