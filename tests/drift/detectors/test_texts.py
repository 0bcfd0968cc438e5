import numpy as np
import pytest

from llm_assets.drift.config import Detector
from llm_assets.drift.detectors.calibration import Calibrated, Undefined
from llm_assets.drift.detectors.texts import TextReference, score_prompts, score_responses

_WORDS = np.array([f"{a}{b}" for a in "bdfgklmnprst" for b in ("ar", "el", "in", "os", "um")])
_WEIGHTS = 1 / np.arange(1, len(_WORDS) + 1)
_PROMPT_DETECTORS = {"token_js", "out_of_vocabulary", "length", "language"}
_RESPONSE_DETECTORS = {"response_token_js", "response_length", "refusal_rate"}


def _texts(num_texts: int, *, rng: np.random.Generator) -> list[str]:
    lengths = rng.integers(3, 10, num_texts)
    weights = _WEIGHTS / _WEIGHTS.sum()
    return [" ".join(rng.choice(_WORDS, length, p=weights)) for length in lengths]


def _answers(num_texts: int, *, rng: np.random.Generator) -> list[str]:
    refused = rng.random(num_texts) < 0.3
    starts = np.where(refused, "I can't help with that. ", "")
    return [start + text for start, text in zip(starts, _texts(num_texts, rng=rng), strict=True)]


def test_false_alarms_come_at_the_wanted_rate() -> None:
    rng = np.random.default_rng(9)
    num_windows, rate = 200, 0.1
    alarms = dict.fromkeys(Detector, 0)
    for _ in range(num_windows):
        prompts, answers = _texts(120, rng=rng), _answers(120, rng=rng)
        results = score_prompts(
            prompts[:30], TextReference(prompts[30:]), false_alarm_rate=rate, rng=rng
        ) | score_responses(
            answers[:30], TextReference(answers[30:]), false_alarm_rate=rate, rng=rng
        )
        for detector, result in results.items():
            assert isinstance(result, Calibrated)
            alarms[detector] += result.score > result.threshold
    low, high = 8, 35  # 99.9 % of honest tests
    # Languages and refusals are counts, whose steps keep the rate below the wanted one.
    lowest = {Detector.LANGUAGE: 1, Detector.REFUSAL_RATE: 1}
    for name in _PROMPT_DETECTORS | _RESPONSE_DETECTORS:
        detector = Detector(name)
        assert lowest.get(detector, low) <= alarms[detector] <= high, detector


def test_each_change_is_seen_by_its_own_detector() -> None:
    rng = np.random.default_rng(2)
    usual = [f"Please tell me {text} today" for text in _texts(400, rng=rng)]
    reference = TextReference(usual[:300])
    changes = {
        Detector.TOKEN_JS: [f"Please tell me {text} today" for text in ["bar", "del"] * 50],
        Detector.OUT_OF_VOCABULARY: [*usual[300:380], *["Please tell me quux frob zap today"] * 20],
        Detector.LENGTH: [f"{text} {text} {text}" for text in usual[300:]],
        Detector.LANGUAGE: [*usual[300:380], *["Können Sie mir bitte heute helfen?"] * 20],
    }
    for detector, current in changes.items():
        result = score_prompts(current, reference, false_alarm_rate=0.01, rng=rng)[detector]
        assert isinstance(result, Calibrated)
        assert result.score > result.threshold, detector
        assert result.exceedance_rate <= 0.01
        assert result.interval.low <= result.score <= result.interval.high


def test_answers_that_decline_more_often_or_grow_are_found() -> None:
    rng = np.random.default_rng(3)
    answers = _answers(400, rng=rng)
    current = ["I'm sorry, but I cannot help you with this request."] * 40 + answers[:60]
    results = score_responses(current, TextReference(answers[100:]), false_alarm_rate=0.01, rng=rng)
    assert set(results) == _RESPONSE_DETECTORS
    for result in results.values():
        assert isinstance(result, Calibrated)
        assert result.score > result.threshold


@pytest.mark.parametrize(
    ("current", "reference", "reason"),
    [
        ([], ["a b", "c"], "0 texts in the window, at least 2 are needed"),
        (["a"], ["a b", "c"], "1 texts in the window, at least 2 are needed"),
        (["a b", "c"], ["a"], "1 texts in the reference, at least 2 are needed"),
        (["secret"] * 7, ["a b", "c"], "all 7 texts of the window are the same"),
        (["a b", "c"], ["secret"] * 9, "all 9 texts of the reference are the same"),
    ],
)
def test_where_nothing_can_be_said_the_reason_is_in_numbers(
    current: list[str], reference: list[str], reason: str
) -> None:
    rng = np.random.default_rng(0)
    prompts = score_prompts(current, TextReference(reference), false_alarm_rate=0.1, rng=rng)
    assert prompts == dict.fromkeys(map(Detector, _PROMPT_DETECTORS), Undefined(reason))
    answers = score_responses(current, TextReference(reference), false_alarm_rate=0.1, rng=rng)
    assert set(answers) == _RESPONSE_DETECTORS
    assert answers[Detector.RESPONSE_TOKEN_JS] == Undefined(reason)
    assert answers[Detector.RESPONSE_LENGTH] == Undefined(reason)


def test_what_has_no_words_or_one_length_leaves_the_other_detectors_their_say() -> None:
    rng = np.random.default_rng(0)
    reference = TextReference(_texts(60, rng=rng))
    results = score_prompts(["👍👍", "🎉!"] * 10, reference, false_alarm_rate=0.1, rng=rng)
    undefined = {
        detector: result.reason
        for detector, result in results.items()
        if isinstance(result, Undefined)
    }
    assert undefined == {
        Detector.TOKEN_JS: "none of the 20 texts of the window hold a word",
        Detector.OUT_OF_VOCABULARY: "none of the 20 texts of the window hold a word",
        Detector.LENGTH: "all 20 texts of the window are of the same length",
    }


def test_a_model_that_only_declines_is_found() -> None:
    rng = np.random.default_rng(4)
    reference = TextReference(_answers(100, rng=rng))
    current = ["I can't help with that."] * 30
    result = score_responses(current, reference, false_alarm_rate=0.01, rng=rng)
    refused = result[Detector.REFUSAL_RATE]
    assert isinstance(refused, Calibrated)
    assert refused.score == 1
    assert refused.score > refused.threshold


def test_the_same_seed_gives_the_same_scores() -> None:
    texts = _texts(90, rng=np.random.default_rng(5))
    reference = TextReference(texts[30:])
    first, second = (
        score_prompts(texts[:30], reference, false_alarm_rate=0.1, rng=np.random.default_rng(6))
        for _ in range(2)
    )
    assert first == second


def test_what_is_made_of_the_reference_is_made_once() -> None:
    reference = TextReference(_texts(20, rng=np.random.default_rng(7)))
    assert reference.words.numbers is reference.words.numbers
    assert reference.languages is reference.languages
    assert reference.refusals is reference.refusals
    assert reference.log_lengths is reference.log_lengths
