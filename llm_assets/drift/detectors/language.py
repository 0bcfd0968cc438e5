"""Which languages are asked in? Told by py3langid, a naive Bayes classifier over byte n-grams.

Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", ACL 2012. On two
words it is a guess, which its probability shows: what it doubts is counted as undetermined. So
are numbers, code and emoji. Where it errs it errs on both sides alike, which the null allows for;
read a share of one per cent as noise.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_assets.drift.detectors.calibration import Measured, calibrate
from llm_assets.drift.detectors.js_divergence import divergence, js_divergence
from llm_assets.drift.detectors.relabelling import sums
from llm_assets.intervals import Interval, wilson

UNDETERMINED = "und"

# Of CLINC150's English questions of 40 characters this leaves 3 % undetermined and makes 1 %
# something else than English; at 0.5 it would be 7 % and 0.5 %.
_MIN_PROBABILITY = 0.3
_MAX_CHARACTERS = 300
# The classifier's own label for what is no language.
_NO_LANGUAGE = "zxx"


def languages(texts: Sequence[str]) -> list[str]:
    """Return the ISO 639 code of each text's language, "und" where it cannot be told.

    >>> languages(["Wie komme ich zum Bahnhof?", "ok", "4711"])
    ['de', 'und', 'und']
    """
    classify = _classifier().classify
    found: dict[str, str] = {}
    for text in texts:
        if text not in found:
            language, _ = classify(text[:_MAX_CHARACTERS])
            found[text] = UNDETERMINED if language == _NO_LANGUAGE else language
    return [found[text] for text in texts]


def language_shares(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of each language that occurs, the most frequent first.

    >>> language_shares(["How are you doing today?", "Where is the train station?"])
    {'en': 1.0}
    """
    counts = Counter(languages(texts))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {language: count / len(texts) for language, count in ordered}


def language_shift(
    current: Sequence[str],
    reference: Sequence[str],
    labels: np.ndarray,
    *,
    false_alarm_rate: float,
) -> Measured:
    """Compare a day's languages with the reference's, by the Jensen-Shannon divergence in bits.

    Both sides are what `languages` found, one code a text. The effect size is the share of texts
    that would have to change language to undo the shift (total variation distance), less what
    chance gives.
    """
    from scipy import sparse

    found, columns = np.unique(np.array([*current, *reference]), return_inverse=True)
    num_texts, num_languages = len(columns), len(found)
    ones = np.ones(num_texts, np.float32)
    counts = sparse.csr_array(
        (ones, columns, np.arange(num_texts + 1)), shape=(num_texts, num_languages)
    )
    result = divergence(counts, labels)
    distances = _total_variation(counts, labels, num_current=len(current))
    # What did not come once may still be asked by some: no n makes that share 0.
    unseen = wilson(0, len(current)).high
    bound = float(js_divergence(np.array([1 - unseen, unseen]), np.array([1.0, 0.0])))
    return calibrate(
        result.score,
        result.null,
        false_alarm_rate=false_alarm_rate,
        interval=Interval(result.interval.low, max(result.interval.high, bound)),
        effect_size=float(distances[0] - distances[1:].mean()),
    )


def _total_variation(counts: Any, labels: np.ndarray, *, num_current: int) -> np.ndarray:
    num_reference = counts.shape[0] - num_current
    totals = np.asarray(counts.sum(axis=0), np.float64)[:, None]
    return np.concatenate(
        [
            np.abs(chunk / num_current - (totals - chunk) / num_reference).sum(axis=0) / 2
            for chunk in sums(counts, labels)
        ]
    )


@functools.cache
def _classifier() -> Any:
    # Its model takes 0.7 CPU seconds to load, and every process needs it once.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True, min_confidence=_MIN_PROBABILITY
    )
