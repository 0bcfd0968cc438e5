"""Measures what implicit signals say of the ratings that people gave to conversations.

The public data set `chitchat-dataset` holds conversations of two people and ratings of most of
them, given after the conversation (interesting, witty, upbeat, from 1 to 10; by which of the two
is not said). Each person in turn is read as the user and the other one as the assistant, and the
signals of both are taken together. Left out are conversations of fewer than three turns each, and
those whose three sliders were left where they start, at 5, which is no opinion.

An AUC is the chance that a conversation rated low scores higher than one rated high; 0.5 is
chance, and the interval is DeLong's at 95 %. Long conversations are rated better and show more
signals, so each AUC stands beside one among conversations of about the same length.

    python benchmarks/implicit.py [--conversations 400] [--cache FOLDER]
"""

import argparse
import hashlib
import importlib.resources
import itertools
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from llm_assets.drift.embedding.embeddings import EmbeddingCache, embed
from llm_assets.drift.embedding.minilm import MiniLM
from llm_assets.feedback.implicit import calibration, phrases, rules
from llm_assets.feedback.implicit.combination import PRIOR, WEIGHTS, combined
from llm_assets.feedback.implicit.config import ImplicitConfig
from llm_assets.feedback.implicit.sessions import sessions_of
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.intervals import Z_95, wilson
from llm_assets.records import Feedback, Interaction

_LABELS = Path(__file__).with_name("implicit_labels.json")
_UNTOUCHED = 5
_SHIFT = timedelta(days=364 * 7)  # 2018 is before any interaction may be; the gaps stay the same
_MIN_TURNS = 6
_NUM_STRATA = 5
# The hits in these first conversations were read while the rules were made, so no AUC uses them.
_NUM_READ = 150
_CONFIG = ImplicitConfig()


class Conversation(NamedTuple):
    """The turns of two people, as texts with their times, and the mean of three ratings."""

    id: str
    texts: list[str]
    times: list[datetime]
    rating: float


class Auc(NamedTuple):
    """An area under the ROC curve and its interval."""

    value: float
    low: float
    high: float


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=400, help="0 takes all of them")
    parser.add_argument("--cache", type=Path, help="keeps the vectors for the next time")
    arguments = parser.parse_args()
    if 0 < arguments.conversations <= _NUM_READ:
        parser.error(f"--conversations must be 0 or above {_NUM_READ}")
    start = time.monotonic()
    conversations = load(arguments.conversations or None)
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(arguments.cache or Path(folder))
        signals, threshold = find(conversations, cache=cache)
    result = {
        "num_conversations": len(conversations),
        "num_judged_by_auc": len(conversations[_NUM_READ:]),
        "rephrase_threshold": round(threshold, 4),
        "num_signals": dict(sorted(_counts(signals).items())),
        "auc": measure(conversations[_NUM_READ:], signals),
        "reader_agrees": precision(signals),
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(result, indent=2))


def load(limit: int | None) -> list[Conversation]:
    """Return the rated conversations, or so many of them, chosen by the hash of their ids."""
    rated = [
        Conversation(
            conversation_id,
            [" ".join(message["text"] for message in turn) for turn in turns],
            [datetime.fromisoformat(turn[0]["timestamp"]) + _SHIFT for turn in turns],
            sum(ratings) / len(ratings),
        )
        for conversation_id, turns, ratings in _raw()
        if len(turns) >= _MIN_TURNS and ratings and any(r != _UNTOUCHED for r in ratings)
    ]
    return sorted(rated, key=lambda conversation: _hash(conversation.id))[:limit]


def _raw() -> Iterator[tuple[str, list[Any], list[int]]]:
    source = importlib.resources.files("chitchat_dataset") / "dataset.json"
    for conversation_id, content in json.loads(source.read_text(encoding="utf-8")).items():
        turns = [turn for turn in content["messages"] if turn]
        yield conversation_id, turns, list(content.get("ratings", {}).values())


def find(
    conversations: Sequence[Conversation], *, cache: EmbeddingCache
) -> tuple[list[Feedback], float]:
    """Return the signals of all conversations and the threshold, as the asset finds them."""
    interactions = interaction_table([i for c in conversations for i in _interactions(c)])
    sessions = sessions_of(interactions)
    candidates = rules.rephrase_candidates(sessions, config=_CONFIG)
    rng = np.random.default_rng(1)
    sample = calibration.sample_prompts(interactions, rng=rng)
    needed = {*sample["prompt"], *sample["two_later"].drop_nulls()}
    prompts = sorted(needed | {turn.prompt for pair in candidates for turn in pair})
    vector_of = dict(zip(prompts, embed(prompts, cache=cache, embedder=MiniLM()), strict=True))
    similarities = {
        turn.request_id: float(vector_of[turn.prompt] @ vector_of[following.prompt])
        for turn, following in candidates
    }
    threshold = calibration.calibrate(sample, vector_of, config=_CONFIG, rng=rng).threshold
    signals = rules.find_signals(sessions, similarities, threshold=threshold, config=_CONFIG)
    return signals, threshold


def _interactions(conversation: Conversation) -> Iterator[Interaction]:
    """Return both people's exchanges; the last message of one may have had no answer."""
    texts, times = conversation.texts, conversation.times
    for position, (text, asked) in enumerate(zip(texts, times, strict=True)):
        has_answer = position + 1 < len(texts)
        yield Interaction(
            request_id=f"{conversation.id}:{position}",
            application="chitchat",
            # Some messages bear the same second; their order is known all the same.
            time=asked + timedelta(microseconds=position),
            model_version="chitchat-v0001",
            variant="external",
            prompt=text,
            response=texts[position + 1] if has_answer else "(nobody answered)",
            session_id=f"{conversation.id}/{position % 2}",
        )


def measure(conversations: Sequence[Conversation], signals: Sequence[Feedback]) -> dict[str, Any]:
    """Return the AUC of each score for each cut of the ratings, and of fitted weights."""
    scores = _scores(conversations, signals)
    ratings = np.array([c.rating for c in conversations])
    length = np.array([len(c.texts) for c in conversations], float)
    low, high = np.quantile(ratings, [0.25, 0.75])
    everybody = np.ones(len(ratings), bool)
    # The other half of the conversations, by hash, is what the weights are fitted on.
    is_fitted_on = np.array([_hash(c.id + "half")[-1] in "02468ace" for c in conversations])
    cuts: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "below 5 against above": (ratings < _UNTOUCHED, ratings != _UNTOUCHED),
        "median split": (ratings < np.median(ratings), everybody),
        "lowest against highest quarter": (ratings <= low, (ratings <= low) | (ratings >= high)),
    }
    measured: dict[str, Any] = {}
    for name, (is_low, is_used) in cuts.items():
        rows = {
            score: _row(values[is_used], is_low[is_used], length[is_used])
            for score, values in scores.items()
        }
        fitted, weights = fitted_scores(scores, is_low, is_used & is_fitted_on)
        held_out = is_used & ~is_fitted_on
        for score, values in (
            ("combined, weights fitted on the other half", fitted),
            ("combined, on the same half", scores["combined"]),
        ):
            rows[score] = _row(values[held_out], is_low[held_out], length[held_out])
        measured[name] = {
            "num_low": int(is_low[is_used].sum()),
            "num_high": int((~is_low)[is_used].sum()),
            "scores": rows,
            "fitted_weights": weights,
        }
    return measured


def _scores(
    conversations: Sequence[Conversation], signals: Sequence[Feedback]
) -> dict[str, np.ndarray]:
    """Return for each kind, their combination, and each baseline one score a conversation."""
    table = feedback_table(signals).with_columns(
        pl.col("session_id").str.split("/").list.first()  # both people's signals together
    )
    ids = [conversation.id for conversation in conversations]
    scores: dict[str, np.ndarray] = {}
    together = combined(table, by="session_id")
    found = dict(zip(together["id"], together["dissatisfaction"], strict=True))
    scores["combined"] = np.array([found.get(i, PRIOR) for i in ids])
    for kind in rules.RULES:
        surest = (
            table.filter(pl.col("kind") == kind)
            .group_by("session_id")
            .agg(pl.col("confidence").max())
        )
        by_id = dict(surest.iter_rows())
        sign = math.copysign(1.0, WEIGHTS[kind])
        scores[str(kind)] = np.array([sign * by_id.get(i, 0.0) for i in ids])
    scores["baseline: few turns"] = np.array([-float(len(c.texts)) for c in conversations])
    scores["baseline: short turns"] = np.array(
        [-float(np.mean([len(text) for text in c.texts])) for c in conversations]
    )
    return scores


def fitted_scores(
    scores: dict[str, np.ndarray], is_low: np.ndarray, is_used: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Return log odds by a logistic regression on the kinds, and its weights.

    Newton's steps with a small ridge, because a kind may be too rare to be estimated.
    """
    kinds = [str(kind) for kind in rules.RULES]
    features = np.column_stack([np.ones(len(is_low)), *(np.abs(scores[kind]) for kind in kinds)])
    x, y = features[is_used], is_low[is_used].astype(float)
    ridge = np.eye(x.shape[1])
    ridge[0, 0] = 0.0
    weights = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge
        weights += np.linalg.solve(hessian, x.T @ (y - p) - ridge @ weights)
    names = ["intercept", *kinds]
    return features @ weights, {n: round(float(w), 2) for n, w in zip(names, weights, strict=True)}


def _row(scores: np.ndarray, is_low: np.ndarray, length: np.ndarray) -> str:
    plain = auc(scores, is_low)
    matched = matched_auc(scores, is_low, length)
    return f"{_shown(plain)}; among the same length {_shown(matched)}"


def _shown(found: Auc) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def auc(scores: np.ndarray, is_positive: np.ndarray) -> Auc:
    """Return the area under the ROC curve with DeLong's interval; ties count a half.

    DeLong et al., "Comparing the areas under two or more correlated ROC curves", Biometrics 44
    (1988); nan without two of each class.
    """
    value, variance = _delong(scores, is_positive)
    return _with_interval(value, variance)


def matched_auc(scores: np.ndarray, is_positive: np.ndarray, length: np.ndarray) -> Auc:
    """Return the AUC within strata of equal size by length, weighted by their numbers of pairs."""
    order = np.argsort(length, kind="stable")
    areas, variances, pairs = [], [], []
    for stratum in np.array_split(order, _NUM_STRATA):
        num_positive = int(is_positive[stratum].sum())
        area, variance = _delong(scores[stratum], is_positive[stratum])
        if not math.isnan(variance):
            areas.append(area)
            variances.append(variance)
            pairs.append(num_positive * (len(stratum) - num_positive))
    share = np.array(pairs) / sum(pairs)
    return _with_interval(float(share @ np.array(areas)), float(share**2 @ np.array(variances)))


def _with_interval(value: float, variance: float) -> Auc:
    if not variance > 0:  # nan, or a score that nobody has: there is no interval then
        return Auc(value, math.nan, math.nan)
    half = Z_95 * math.sqrt(variance)
    return Auc(value, max(0.0, value - half), min(1.0, value + half))


def _delong(scores: np.ndarray, is_positive: np.ndarray) -> tuple[float, float]:
    positive, negative = scores[is_positive], scores[~is_positive]
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        return math.nan, math.nan
    ranks = _midranks(np.concatenate([positive, negative]))
    of_positive = (ranks[:m] - _midranks(positive)) / n
    of_negative = 1 - (ranks[m:] - _midranks(negative)) / m
    variance = float(of_positive.var(ddof=1) / m + of_negative.var(ddof=1) / n)
    return float(of_positive.mean()), variance


def _midranks(values: np.ndarray) -> np.ndarray:
    return pl.Series(values).rank("average").to_numpy()


def precision(signals: Sequence[Feedback]) -> dict[str, dict[str, str]]:
    """Return how many hits of a rule a reader agreed with, by confidence.

    The labels are one reader's. Of the phrase rules all conversations are read, for rephrasing
    those of this sample. The rules and their confidence were adjusted on the same hits, so what
    is printed is optimistic; hits without a label were not read.
    """
    hits: list[tuple[str, str, str]] = [
        ("rephrase", str(s.request_id), "from 0.5" if (s.confidence or 0) >= 0.5 else "below 0.5")
        for s in signals
        if s.kind == "rephrase"
    ]
    for conversation_id, turns, _ in _raw():
        texts = [" ".join(message["text"] for message in turn) for turn in turns]
        for position, (answer, prompt) in enumerate(itertools.pairwise(texts)):
            request_id = f"{conversation_id}:{position}"
            found = {
                "correction_phrase": phrases.correction_confidence(prompt, answer=answer),
                "thanks": phrases.thanks_confidence(prompt),
            }
            hits += [(kind, request_id, f"{c}") for kind, c in found.items() if c is not None]
    labels = json.loads(_LABELS.read_text())
    counts: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for kind, request_id, band in hits:
        label = labels[kind].get(_hash(request_id)[:12])
        count = counts[kind, band]
        count[0] += label is True
        count[1] += label is not None
        count[2] += 1
    agreed: dict[str, dict[str, str]] = defaultdict(dict)
    for (kind, band), count in sorted(counts.items()):
        agreed[kind][f"confidence {band}"] = _agreed(*count)
    return agreed


def _agreed(num_right: int, num_labelled: int, num_hits: int) -> str:
    low, high = wilson(num_right, num_labelled)
    rate = num_right / num_labelled if num_labelled else math.nan
    return f"{rate:.2f} [{low:.2f}, {high:.2f}], n={num_labelled} of {num_hits} hits"


def _counts(signals: Sequence[Feedback]) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for signal in signals:
        counts[str(signal.kind)] += 1
    return counts


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
