"""What a set of prompts is about, in a few words that no single user brought in."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from llm_assets.intervals import wilson

MIN_USERS = 5
_NUM_TERMS = 3
# A word that many other prompts hold too is grammar, or what the application is about anyway.
_MAX_SHARE_OUTSIDE = 0.03
_MIN_SHARE = 0.1
# A name is clearer without words that say far less than its first.
_LEAST_OF_FIRST = 0.25
# About what an embedder reads of a prompt.
_MAX_CHARACTERS = 1000
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
# Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese): two
# neighbouring characters stand for a word.
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+)")


@dataclass(frozen=True)
class Usage:
    """In how many of `num_prompts` prompts each word stands."""

    counts: Counter[str]
    num_prompts: int

    @classmethod
    def of(cls, prompts: Iterable[str]) -> Self:
        """Count the words of prompts."""
        counts, num_prompts = Counter[str](), 0
        for prompt in prompts:
            counts.update(words(prompt))
            num_prompts += 1
        return cls(counts, num_prompts)


def words(prompt: str) -> set[str]:
    """Return the words at a prompt's beginning without case, numbers, and single letters.

    >>> sorted(words("Don't pay €20 in Łódź, pay nothing!"))
    ["don't", 'in', 'nothing', 'pay', 'łódź']
    """
    plain = unicodedata.normalize("NFKC", prompt[:_MAX_CHARACTERS]).casefold()
    found = {word for word in _WORD.findall(plain) if len(word) > 1}
    for word in [] if plain.isascii() else [word for word in found if _UNSPACED.search(word)]:
        found.remove(word)
        for part in _UNSPACED.split(word):
            if _UNSPACED.match(part):
                found.update(part[start : start + 2] for start in range(len(part) - 1))
            elif len(part) > 1:
                found.add(part)
    return found


def typical_terms(prompts: Sequence[str], users: Sequence[str], everything: Usage) -> list[str]:
    """Return up to three words that tell prompts from the rest of `everything`, the best first.

    `everything` was counted over the prompts as well, and `users` says who wrote each of them.
    Only words of at least `MIN_USERS` users are taken (k-anonymity: Sweeney, 2002), so that no
    word is left of one user whose prompts are erased later. Somebody who comes under a new id
    each time counts as many.

    A word is rated by its part of the Kullback-Leibler divergence between the prompts and the
    rest (Tomokiyo and Hurst, "A language model approach to keyphrase extraction", 2003). Both
    shares are taken at the near ends of their Wilson intervals, or a rare word's luck would win.
    """
    counts, writers = Counter[str](), defaultdict[str, set[str]](set)
    for prompt, user in zip(prompts, users, strict=True):
        for word in words(prompt):
            counts[word] += 1
            writers[word].add(user)
    num_outside = everything.num_prompts - len(prompts)
    ratings = {
        word: _rating(count, len(prompts), everything.counts[word] - count, num_outside)
        for word, count in counts.items()
        if len(writers[word]) >= MIN_USERS and count >= _MIN_SHARE * len(prompts)
    }
    least = _LEAST_OF_FIRST * max(ratings.values(), default=0.0)
    chosen: list[str] = []
    for word in sorted(ratings, key=lambda word: (-ratings[word], word)):
        is_new = not any(_are_forms_of_one(word, other) for other in chosen)
        if is_new and 0 < ratings[word] >= least and len(chosen) < _NUM_TERMS:
            chosen.append(word)
    return chosen


def shared_words(prompts: Sequence[str]) -> list[str]:
    """Return up to three words that most of a few prompts hold, the most frequent ones first.

    >>> shared_words(["Where is my parcel?", "my parcel is late", "lost parcel"])
    ['parcel', 'is', 'my']
    """
    counts = Usage.of(prompts).counts
    shared = [word for word, count in counts.items() if count > max(1.0, len(prompts) / 2)]
    return sorted(shared, key=lambda word: (-counts[word], -len(word), word))[:_NUM_TERMS]


def _rating(count: int, num: int, count_outside: int, num_outside: int) -> float:
    if count_outside > _MAX_SHARE_OUTSIDE * num_outside or not num_outside:
        return 0.0
    inside = wilson(count, num).low
    outside = wilson(count_outside, num_outside).high
    return inside * math.log(inside / outside) if inside > outside else 0.0


def _are_forms_of_one(word: str, other: str) -> bool:
    """Whether two words begin alike, such as meeting and meetings."""
    short, long = sorted((word, other), key=len)
    return len(short) > 3 and long.startswith(short[: max(4, len(short) - 2)])
