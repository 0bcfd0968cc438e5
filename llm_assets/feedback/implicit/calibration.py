"""From which similarity on two prompts of a session say the same thing.

The threshold is not a constant: prompts of one application are alike to begin with, the more so
the narrower it is, and within a session they keep to a topic. What chance makes of them is seen
between different sessions; what a topic makes of them, between prompts of one session that do not
follow each other.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from llm_assets.feedback.implicit.config import ImplicitConfig
from llm_assets.normalise import normalise

# A quantile must rest on so many pairs beyond it, or it is no estimate.
_MIN_PAIRS_BEYOND = 10
_MAX_PAIRS = 20_000
_MAX_PROMPTS = 2000

# Shorter prompts ("yes", "go on") repeat without meaning anything, and of longer ones the embedder
# reads only the beginning, which may be the same document with another question behind it.
_MIN_WORDS = 3
_MAX_CHARACTERS = 1000


class Calibration(NamedTuple):
    """The threshold, and the similarities that it was taken from, each sorted.

    `chance` is of prompts from different sessions, `topic` of prompts two turns apart.
    """

    threshold: float
    chance: np.ndarray
    topic: np.ndarray


def is_comparable(prompt: str) -> bool:
    """Say whether a prompt is long enough to mean something, and short enough to be read whole."""
    return len(prompt) <= _MAX_CHARACTERS and len(prompt.split(None, _MIN_WORDS)) >= _MIN_WORDS


def sample_prompts(asked: pl.DataFrame, *, rng: np.random.Generator) -> pl.DataFrame:
    """Return at most 2,000 comparable prompts with the prompts that came two turns later.

    `asked` has `session_id` and `prompt`, oldest first. The result has these and `two_later`,
    which is null where the session ended before or the prompt there is not comparable.
    """
    two_later = pl.col("prompt").shift(-2).over("session_id")
    rows = (
        asked.lazy()
        .filter(pl.col("session_id").is_not_null())
        .select("session_id", "prompt", two_later=two_later)
        .filter(_is_comparable(pl.col("prompt")))
        .with_columns(two_later=pl.when(_is_comparable(pl.col("two_later"))).then("two_later"))
        .collect()
    )
    if rows.height <= _MAX_PROMPTS:
        return rows
    return rows[np.sort(rng.choice(rows.height, _MAX_PROMPTS, replace=False))]


def calibrate(
    sample: pl.DataFrame,
    vector_of: Mapping[str, np.ndarray],
    *,
    config: ImplicitConfig,
    rng: np.random.Generator,
) -> Calibration:
    """Return the threshold for a sample of prompts, whose vectors have unit length."""
    if sample.is_empty():
        return Calibration(math.nan, np.empty(0), np.empty(0))
    prompts = sample["prompt"].to_list()
    vectors = np.stack([vector_of[prompt] for prompt in prompts])
    chance = _chance(vectors, sample["session_id"].to_list(), prompts, rng=rng)
    pairs = sample.drop_nulls("two_later").select("prompt", "two_later").rows()
    differ = [(a, b) for a, b in pairs if normalise(a) != normalise(b)]
    topic = np.sort([float(vector_of[a] @ vector_of[b]) for a, b in differ])
    threshold = rephrase_threshold(
        chance,
        topic,
        false_positive_rate=config.rephrase_false_positive_rate,
        floor=config.rephrase_similarity_floor,
    )
    return Calibration(threshold, chance, topic)


def rephrase_threshold(
    chance: np.ndarray, topic: np.ndarray, *, false_positive_rate: float, floor: float
) -> float:
    """Return the similarity that at most this rate of either kind of pairs lies over.

    It is at least `floor`. Where fewer than ten pairs would lie beyond it, 1,000 pairs in all at
    a rate of 1 %, the topic is left out; without chance pairs there is no threshold but nan.

    >>> chance, topic = np.linspace(0, 0.8, 1001), np.linspace(0, 1, 1001)
    >>> round(rephrase_threshold(chance, topic, false_positive_rate=0.01, floor=0.6), 3)
    0.99
    >>> round(rephrase_threshold(chance, topic[:9], false_positive_rate=0.01, floor=0.6), 3)
    0.792
    >>> rephrase_threshold(chance[:9], topic, false_positive_rate=0.01, floor=0.6)
    nan
    """
    enough = [
        float(np.quantile(pairs, 1 - false_positive_rate, method="higher"))
        for pairs in (chance, topic)
        if len(pairs) * false_positive_rate >= _MIN_PAIRS_BEYOND
    ]
    if len(chance) * false_positive_rate < _MIN_PAIRS_BEYOND:
        return math.nan
    return max(floor, *enough)


def _chance(
    vectors: np.ndarray, sessions: list[str], prompts: list[str], *, rng: np.random.Generator
) -> np.ndarray:
    """Return the similarities of up to 20,000 random pairs from different sessions, each once.

    Pairs that differ in writing only are left out: between different users these are common
    questions, and within a session they are a rule of their own.
    """
    drawn = rng.integers(0, len(prompts), size=(2 * _MAX_PAIRS, 2))
    pairs = np.unique(np.sort(drawn, axis=1), axis=0)
    session = np.unique(np.asarray(sessions), return_inverse=True)[1]
    text = np.unique(np.asarray([normalise(prompt) for prompt in prompts]), return_inverse=True)[1]
    first, second = pairs.T
    pairs = pairs[(session[first] != session[second]) & (text[first] != text[second])]
    if len(pairs) > _MAX_PAIRS:
        pairs = rng.choice(pairs, _MAX_PAIRS, replace=False)
    return np.sort(np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]]))


def _is_comparable(prompt: pl.Expr) -> pl.Expr:
    return (prompt.str.len_chars() <= _MAX_CHARACTERS) & (
        prompt.str.count_matches(r"\S+") >= _MIN_WORDS
    )
