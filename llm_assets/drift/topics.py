"""What moved: the topics that today's prompts are about more often than the baseline's.

Cells of the map that grew are found one by one, and those that are alike make one topic. Novel
prompts that are scattered over the map make a topic of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from llm_assets.drift.detectors.novelty import Novelty
from llm_assets.drift.detectors.topic_growth import TopicGrowth
from llm_assets.drift.terms import Usage, typical_terms
from llm_assets.intervals import Interval, newcombe
from llm_assets.normalise import normalise

UNNAMED = "unnamed topic"
_NUM_TYPICAL = 5
_FALSE_DISCOVERY_RATE = 0.05
# The cosine between the middles of two cells, seen from the middle of the baseline: cells of one
# intent of CLINC150 lie above it, those of different intents that a person would part below.
_ALIKE = 0.6

TOPIC_SCHEMA = pl.Schema(
    {
        "topic": pl.Int64,
        "kind": pl.String,
        "public_name": pl.String,
        "num_prompts": pl.Int64,
        "n": pl.Int64,
        "num_baseline": pl.Int64,
        "share": pl.Float64,
        "baseline_share": pl.Float64,
        "interval_low": pl.Float64,
        "interval_high": pl.Float64,
        "rank": pl.Int64,
        "prompt": pl.String,
        "request_id": pl.String,
    }
)


class TypicalPrompt(NamedTuple):
    """A prompt that stands for a topic, and one of the requests that it came with."""

    prompt: str
    request_id: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Topic:
    """Prompts of one day that are about one thing, or novel in many ways.

    `public_name` may be shown anywhere: no word is in it that fewer than five users wrote.
    `rows` are the topic's prompts in the window of n; `baseline_share` is of its `num_baseline`
    prompts. `interval` is the 95 % interval of the difference between the shares; that the topics
    are those which stood out makes it too optimistic. `prompts` are a grown topic's most typical
    ones, and of novel prompts the farthest from the baseline.
    """

    kind: Literal["grown", "novel"]
    public_name: str
    rows: np.ndarray
    n: int
    num_baseline: int
    baseline_share: float
    interval: Interval
    prompts: Sequence[TypicalPrompt]

    @property
    def num_prompts(self) -> int:
        """How many of the window's prompts are of the topic."""
        return len(self.rows)

    @property
    def share(self) -> float:
        """The part of the window's prompts that is of the topic."""
        return len(self.rows) / self.n


def what_moved(
    rows: pl.DataFrame,
    vectors: np.ndarray,
    baseline_prompts: Sequence[str],
    baseline_vectors: np.ndarray,
    growth: TopicGrowth | None,
    novel: Novelty | None,
) -> list[Topic]:
    """Return the topics that grew, the one that grew most first, and then the novel prompts.

    `rows` are the window's interactions (request_id, prompt, user_id, session_id), `vectors` their
    unit vectors in the same order. Which cells grew is decided by exact hypergeometric tests at a
    false-discovery rate of 5 % (Benjamini and Hochberg, 1995): on a day when nothing has changed,
    none is found at least 19 times of 20. Novel prompts outside these cells are a topic where the
    interval says that there are more of them than usual.
    """
    n, num_baseline = len(vectors), len(baseline_vectors)
    assert rows.height == n
    assert growth is None or (len(growth.cells), len(growth.baseline_cells)) == (n, num_baseline)
    found = [] if growth is None else _grown(growth, vectors, baseline_vectors)
    found.sort(key=lambda part: part.num_before / num_baseline - len(part.rows) / n)
    if novel is not None:
        is_left = np.ones(n, dtype=bool)
        for part in found:
            is_left[part.rows] = False
        part = _novel(novel, is_left, num_baseline=num_baseline)
        if newcombe(len(part.rows), n, part.num_before, num_baseline).low > 0:
            found.append(part)
    if not found:
        return []
    prompts, requests = rows["prompt"].to_list(), rows["request_id"].to_list()
    users = rows.select(pl.coalesce("user_id", "session_id", "request_id")).to_series().to_list()
    everything = Usage.of([*baseline_prompts, *prompts])
    topics: list[Topic] = []
    for number, part in enumerate(found, start=1):
        texts = [prompts[row] for row in part.rows]
        terms = typical_terms(texts, [users[row] for row in part.rows], everything)
        typical = _typical(part, [TypicalPrompt(prompts[row], requests[row]) for row in part.rows])
        topics.append(
            Topic(
                kind=part.kind,
                public_name=_public_name(part.kind, terms, number=number),
                rows=part.rows,
                n=n,
                num_baseline=num_baseline,
                baseline_share=part.num_before / num_baseline,
                interval=newcombe(len(part.rows), n, part.num_before, num_baseline),
                prompts=typical,
            )
        )
    return topics


def topic_table(topics: Sequence[Topic]) -> pl.DataFrame:
    """Return topics as the rows of a partition of `drift_topics`.

    Each topic has a row of rank 0 without a prompt, and one for each typical prompt from rank 1.
    What a user wrote stands in the column `prompt` alone, beside the request that it came with:
    erasing takes the rows of a user's requests, and the topic stays with what is left.
    """
    rows = [
        {
            "topic": number,
            "kind": topic.kind,
            "public_name": topic.public_name,
            "num_prompts": topic.num_prompts,
            "n": topic.n,
            "num_baseline": topic.num_baseline,
            "share": topic.share,
            "baseline_share": topic.baseline_share,
            "interval_low": topic.interval.low,
            "interval_high": topic.interval.high,
            "rank": rank,
            "prompt": prompt,
            "request_id": request_id,
        }
        for number, topic in enumerate(topics, start=1)
        for rank, (prompt, request_id) in enumerate([(None, None), *topic.prompts])
    ]
    return pl.DataFrame(rows, schema=TOPIC_SCHEMA)


class _Part(NamedTuple):
    """Rows of the window that are one topic, how typical each is, and the baseline's count."""

    kind: Literal["grown", "novel"]
    rows: np.ndarray
    typicality: np.ndarray
    num_before: int


def _grown(growth: TopicGrowth, vectors: np.ndarray, baseline_vectors: np.ndarray) -> list[_Part]:
    num_cells = len(growth.centres)
    counts = np.bincount(growth.cells, minlength=num_cells)
    before = np.bincount(growth.baseline_cells, minlength=num_cells)
    cells = _discoveries(counts, counts + before)
    middles = [vectors[growth.cells == cell].mean(axis=0) for cell in cells]
    parts: list[_Part] = []
    for alike in _groups(middles, origin=baseline_vectors.mean(axis=0)):
        members = cells[alike]
        rows = np.flatnonzero(np.isin(growth.cells, members))
        typicality = vectors[rows] @ vectors[rows].mean(axis=0)
        parts.append(_Part("grown", rows, typicality, int(before[members].sum())))
    return parts


def _discoveries(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the cells that hold more of today's prompts than chance puts there."""
    from scipy.stats import hypergeom

    chances = hypergeom.sf(counts - 1, sizes.sum(), sizes, counts.sum())
    order = np.argsort(chances, kind="stable")
    allowed = _FALSE_DISCOVERY_RATE * np.arange(1, len(order) + 1) / len(order)
    passed = np.flatnonzero(chances[order] <= allowed)
    return order[: passed[-1] + 1] if len(passed) else order[:0]


def _groups(middles: Sequence[np.ndarray], *, origin: np.ndarray) -> list[np.ndarray]:
    """Return which cells are alike, by average linkage of the angles between their middles.

    They are seen from an origin, because many embedders put all texts at small angles.
    """
    if len(middles) < 2:
        return [np.arange(len(middles))] * len(middles)
    from scipy.cluster.hierarchy import fcluster, linkage

    seen = np.stack(middles) - origin
    # A middle at the origin has no direction: it is at a right angle to all others.
    seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    distances = np.maximum(1 - seen @ seen.T, 0)
    tree = linkage(distances[np.triu_indices(len(seen), k=1)], "average")
    labels = fcluster(tree, 1 - _ALIKE, criterion="distance")
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _novel(novel: Novelty, is_left: np.ndarray, *, num_baseline: int) -> _Part:
    rows = np.flatnonzero((novel.distances > novel.cut) & is_left)
    usual = novel.measured.score - novel.measured.effect_size
    return _Part("novel", rows, novel.distances[rows], round(usual * num_baseline))


def _public_name(kind: str, terms: Sequence[str], *, number: int) -> str:
    if kind == "novel":
        return f"novel: {', '.join(terms)}" if terms else "novel prompts"
    return ", ".join(terms) or f"{UNNAMED} {number}"


def _typical(part: _Part, prompts: Sequence[TypicalPrompt]) -> list[TypicalPrompt]:
    """Return the most typical prompts, those that differ in writing only once."""
    typical: dict[str, TypicalPrompt] = {}
    for row in np.argsort(-part.typicality, kind="stable"):
        typical.setdefault(normalise(prompts[row].prompt), prompts[row])
        if len(typical) == _NUM_TYPICAL:
            break
    return list(typical.values())
