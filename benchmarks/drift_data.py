"""Vectors of real prompts, dealt into baselines and windows in which a known share is new.

The queries are CLINC150's (CC BY 3.0; 150 intents of a voice assistant) and, as topics of another
domain, intents of SNIPS (CC0) that CLINC150 has no counterpart of: rating books and looking for
films and works. They lie under LLM_ASSETS_BENCHMARK_DATA as clinc150/data_full.json and
snips/train.tsv. Without it the days are people's conversations (chitchat-dataset), the new topics
those of chatterbot-corpus, and there are no intents to hold out.
"""

import csv
import importlib.resources
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from llm_assets.drift.embedding.embeddings import Embedder, EmbeddingCache, embed

FOREIGN, INTENT, SCATTERED = "foreign topic", "new intent", "scattered"
_FOREIGN_INTENTS = ("RateBook", "SearchCreativeWork", "SearchScreeningEvent")
_NUM_FOREIGN = 400
_MIN_TOPIC = 100
_NUM_CONVERSED = 15_000


@dataclass(frozen=True)
class Prompts:
    """All vectors of unit length, and which rows are what.

    `known` are the topics of every day, `foreign` those of another domain; `scattered` are single
    questions out of every scope, no two of one topic.
    """

    source: str
    vectors: np.ndarray
    known: Mapping[str, np.ndarray]
    foreign: Mapping[str, np.ndarray]
    scattered: np.ndarray


@dataclass(frozen=True)
class Deal:
    """One world: what is asked every day, in random order, and what may come new, by kind."""

    pool: np.ndarray
    new: Mapping[str, np.ndarray]

    def baseline(self, m: int) -> np.ndarray:
        """Return the rows of a baseline of m prompts."""
        return self.pool[:m]

    def window(
        self, n: int, *, m: int, rng: np.random.Generator, kind: str = INTENT, share: float = 0.0
    ) -> np.ndarray:
        """Return n rows outside a baseline of m, the given share of them new.

        Where there are too few of the kind, they come again.
        """
        num_new = round(n * share)
        rest = rng.choice(self.pool[m:], n - num_new, replace=False)
        if not num_new:
            return rest
        new = self.new[kind]
        return np.concatenate([rest, rng.choice(new, num_new, replace=num_new > len(new))])


def deal(prompts: Prompts, *, rng: np.random.Generator) -> Deal:
    """Hold out one intent, and draw one topic of another domain."""
    held_out = rng.choice(sorted(prompts.known)) if len(prompts.known) > 1 else None
    known = [rows for name, rows in prompts.known.items() if name != held_out]
    new = {FOREIGN: prompts.foreign[str(rng.choice(sorted(prompts.foreign)))]}
    if held_out is not None:
        new[INTENT] = prompts.known[str(held_out)]
    if len(prompts.scattered):
        new[SCATTERED] = prompts.scattered
    return Deal(pool=rng.permutation(np.concatenate(known)), new=new)


def load_prompts(work: Path, embedder: Embedder) -> Prompts:
    """Read the texts and embed those that the cache in the work folder lacks."""
    folder = os.environ.get("LLM_ASSETS_BENCHMARK_DATA")
    root = Path(folder) if folder else None
    if root is not None and (root / "clinc150" / "data_full.json").is_file():
        source, topics = "CLINC150 and SNIPS", _intents(root)
    else:
        print("No labelled queries: name the folder of clinc150 and snips by")
        print("LLM_ASSETS_BENCHMARK_DATA. Conversations stand in, with no intents to hold out.")
        source, topics = "chitchat-dataset and chatterbot-corpus", _conversations()
    # A text that has two labels would be on both sides at once.
    first = {text: label for label, texts in reversed(topics) for text in texts}
    rows: dict[tuple[str, str], list[int]] = {}
    for row, label in enumerate(first.values()):
        rows.setdefault(label, []).append(row)

    def of(kind: str) -> dict[str, np.ndarray]:
        return {name: np.array(found) for (k, name), found in rows.items() if k == kind}

    scattered = of(SCATTERED)
    return Prompts(
        source=f"{source}: {len(first):,} prompts",
        vectors=embed(
            list(first),
            cache=EmbeddingCache(work / "lance"),
            embedder=embedder,
            on_progress=_tell,
        ),
        known=of("known"),
        foreign={name: found for name, found in of(FOREIGN).items() if len(found) >= _MIN_TOPIC},
        scattered=next(iter(scattered.values()), np.array([], int)),
    )


def more_vectors(vectors: np.ndarray, num: int, *, rng: np.random.Generator) -> np.ndarray:
    """Return as many vectors of unit length as are asked for, each close to a real one.

    For measuring time only, which does not depend on what the vectors mean.
    """
    noise = rng.standard_normal((num, vectors.shape[1]), np.float32) * np.float32(0.01)
    found = vectors[rng.integers(0, len(vectors), num)] + noise
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _tell(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\rvectors of {done:,} of {total:,} prompts", end=end, file=sys.stderr, flush=True)


_Topics = list[tuple[tuple[str, str], list[str]]]


def _intents(root: Path) -> _Topics:
    data = json.loads((root / "clinc150" / "data_full.json").read_text("utf-8"))
    topics: dict[tuple[str, str], list[str]] = {}
    for split in ("train", "val", "test"):
        for text, intent in data[split]:
            topics.setdefault(("known", intent), []).append(text)
        for text, _ in data[f"oos_{split}"]:
            topics.setdefault((SCATTERED, "out of scope"), []).append(text)
    snips = root / "snips" / "train.tsv"
    with snips.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            texts = topics.setdefault((FOREIGN, row["label"]), [])
            if row["label"] in _FOREIGN_INTENTS and len(texts) < _NUM_FOREIGN:
                texts.append(row["text"].strip())
    return list(topics.items())


def _conversations() -> _Topics:
    packages = importlib.resources.files
    conversations = json.loads((packages("chitchat_dataset") / "dataset.json").read_text("utf-8"))
    turns = [
        turn[0]["text"].strip()
        for conversation in conversations.values()
        for turn in conversation["messages"]
        if turn and len(turn[0]["text"].strip()) > 20
    ]
    topics: _Topics = [(("known", "conversation"), list(dict.fromkeys(turns))[:_NUM_CONVERSED])]
    for file in sorted((packages("chatterbot_corpus") / "data" / "english").iterdir(), key=str):
        if file.name.endswith(".yml"):
            exchanges = yaml.safe_load(file.read_text("utf-8"))["conversations"]
            texts = [str(text).strip() for exchange in exchanges for text in exchange]
            topics.append(((FOREIGN, file.name.removesuffix(".yml")), [t for t in texts if t]))
    return topics
