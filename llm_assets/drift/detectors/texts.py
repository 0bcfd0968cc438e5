"""The texts of a day against those of its reference: words, lengths, languages, refusals.

Vectors see what is meant; these see how it is written, which a person can check by reading. Both
directions of a change in mix or length count; of unseen words and refusals only more.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_assets.drift.config import OF_ANSWERS, OF_TEXTS, Detector
from llm_assets.drift.detectors.calibration import Measured, Undefined
from llm_assets.drift.detectors.language import language_shift, languages
from llm_assets.drift.detectors.lengths import length_shift, log_lengths
from llm_assets.drift.detectors.lexical import Pool, Words, out_of_vocabulary, pool, token_js
from llm_assets.drift.detectors.refusals import refusal_rate, refusals
from llm_assets.drift.detectors.relabelling import relabelled


@dataclass(frozen=True, eq=False)
class TextReference:
    """The texts that days are compared with, and what is made of them once for all days.

    For 10,000 prompts of 40 characters that takes about one CPU second, most of it the languages;
    for 10,000 answers of 700 characters one and a half.
    """

    texts: Sequence[str]

    @functools.cached_property
    def words(self) -> Words:
        """The tokens of the texts."""
        return Words.of(self.texts)

    @functools.cached_property
    def log_lengths(self) -> np.ndarray:
        """The log lengths of the texts, shape (texts,)."""
        return log_lengths(self.texts)

    @functools.cached_property
    def languages(self) -> list[str]:
        """The language of each text."""
        return languages(self.texts)

    @functools.cached_property
    def refusals(self) -> np.ndarray:
        """Which of the texts decline to answer, shape (texts,)."""
        return refusals(self.texts)


def score_prompts(
    current: Sequence[str],
    reference: TextReference,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> dict[Detector, Measured]:
    """Score a day's prompts; `false_alarm_rate` is that of each detector."""
    undefined = _too_few(current, reference) or _all_the_same(current, reference)
    if undefined is not None:
        return dict.fromkeys(OF_TEXTS, undefined)
    labels = _relabelled(current, reference, false_alarm_rate=false_alarm_rate, rng=rng)
    pooled = _pool(current, reference)
    return {
        Detector.TOKEN_JS: token_js(pooled, labels, false_alarm_rate=false_alarm_rate),
        Detector.OUT_OF_VOCABULARY: out_of_vocabulary(
            pooled, labels, false_alarm_rate=false_alarm_rate
        ),
        Detector.LENGTH: length_shift(
            log_lengths(current), reference.log_lengths, labels, false_alarm_rate=false_alarm_rate
        ),
        Detector.LANGUAGE: language_shift(
            languages(current), reference.languages, labels, false_alarm_rate=false_alarm_rate
        ),
    }


def score_responses(
    current: Sequence[str],
    reference: TextReference,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> dict[Detector, Measured]:
    """Score a day's answers against the reference's; `false_alarm_rate` is that of each detector.

    The rate of refusals is defined even where all answers are the same: a model that says nothing
    but that it cannot help is what it is for.
    """
    undefined = _too_few(current, reference)
    if undefined is not None:
        return dict.fromkeys(OF_ANSWERS, undefined)
    labels = _relabelled(current, reference, false_alarm_rate=false_alarm_rate, rng=rng)
    refused = refusal_rate(
        refusals(current), reference.refusals, labels, false_alarm_rate=false_alarm_rate
    )
    undefined = _all_the_same(current, reference)
    if undefined is not None:
        return {**dict.fromkeys(OF_ANSWERS, undefined), Detector.REFUSAL_RATE: refused}
    return {
        Detector.RESPONSE_TOKEN_JS: token_js(
            _pool(current, reference), labels, false_alarm_rate=false_alarm_rate
        ),
        Detector.RESPONSE_LENGTH: length_shift(
            log_lengths(current), reference.log_lengths, labels, false_alarm_rate=false_alarm_rate
        ),
        Detector.REFUSAL_RATE: refused,
    }


def _relabelled(
    current: Sequence[str],
    reference: TextReference,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> np.ndarray:
    return relabelled(
        len(current), len(reference.texts), false_alarm_rate=false_alarm_rate, rng=rng
    )


def _pool(current: Sequence[str], reference: TextReference) -> Pool:
    return pool(Words.of(current), reference.words)


def _too_few(current: Sequence[str], reference: TextReference) -> Undefined | None:
    for name, texts in (("window", current), ("reference", reference.texts)):
        if len(texts) < 2:
            return Undefined(f"{len(texts)} texts in the {name}, at least 2 are needed")
    return None


def _all_the_same(current: Sequence[str], reference: TextReference) -> Undefined | None:
    for name, texts in (("window", current), ("reference", reference.texts)):
        if all(text == texts[0] for text in texts):
            return Undefined(f"all {len(texts)} texts of the {name} are the same")
    return None
