"""How far today's questions and satisfaction are from what the model version was made for.

Belongs here: the assets of the group `drift`. The statistics are in `llm_assets.drift`.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import dagster as dg
import numpy as np
import polars as pl

from llm_assets.assets.feedback import feedback_logs, interaction_logs
from llm_assets.assets.partitions import (
    days_of_applications,
    model_versions,
    partition_key,
    partitions_of,
    seed_of,
)
from llm_assets.assets.pictures import picture
from llm_assets.curation.store import DatasetStore
from llm_assets.drift import embeddings, plot, quality, scores
from llm_assets.drift.baseline import Baseline, BaselineStore, reference_dates
from llm_assets.drift.embeddings import EmbeddingCache, MiniLM
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.storage import Partition

_EVERY_PARTITION = dg.AllPartitionMapping()


@dg.asset(
    group_name="drift",
    partitions_def=days_of_applications,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[interaction_logs],
    kinds={"lancedb", "huggingface"},
    owners=["team:llm-platform"],
)
def prompt_embeddings(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """The prompts as unit vectors; each distinct prompt is computed once, ever."""
    cache = EmbeddingCache(installation.lance)
    for partition in partitions_of(context.partition_keys):
        day = installation.interactions(partition.application, partition.date, partition.date)
        prompts = embeddings.embeddable(day)
        embeddings.embed(prompts, cache=cache)
        context.add_asset_metadata(
            {"dagster/partition_row_count": len(prompts), "num_distinct": len(set(prompts))},
            partition_key=partition_key(partition),
        )
    return dg.MaterializeResult(metadata={"embedder": MiniLM.name})


@dg.asset(
    group_name="drift",
    partitions_def=model_versions,
    deps=[
        dg.AssetDep(prompt_embeddings, partition_mapping=_EVERY_PARTITION),
        dg.AssetDep("curated_dataset"),
    ],
    kinds={"lancedb"},
    owners=["team:llm-platform"],
)
def embedding_baseline(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """The prompts that the version was trained and accepted on; drift is measured from here.

    The base model has no training set: its baseline is the traffic of its first days.
    """
    version = context.partition_key
    prompts = _accepted_prompts(installation, version)
    vectors = embeddings.embed(prompts, cache=EmbeddingCache(installation.lance))
    baseline = Baseline(
        model_version=version, embedder=MiniLM.name, prompts=prompts, vectors=vectors
    )
    BaselineStore(installation.lance).write(baseline)
    content = hashlib.sha256("\0".join([baseline.embedder, *sorted(prompts)]).encode())
    return dg.MaterializeResult(
        metadata={"num_prompts": len(prompts), "embedder": baseline.embedder},
        data_version=dg.DataVersion(content.hexdigest()),
    )


@dg.asset(
    group_name="drift",
    partitions_def=days_of_applications,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[
        prompt_embeddings,
        dg.AssetDep(embedding_baseline, partition_mapping=_EVERY_PARTITION),
    ],
    kinds={"numpy", "parquet"},
    owners=["team:llm-platform"],
)
def drift_scores(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """How far a day's prompts are from the baseline of the version that served, by detector."""
    for partition in partitions_of(context.partition_keys):
        metadata: Mapping[str, dg.MetadataValue] = _NO_TRAFFIC
        if _has_traffic(installation, partition):
            version, found, map_png = _score_day(installation, partition)
            table = scores.score_table(found, model_version=version)
            installation.table("drift_scores").write(partition, table)
            metadata = _score_metadata(version, found, map_png)
        context.add_asset_metadata(metadata, partition_key=partition_key(partition))
    return dg.MaterializeResult()


@dg.asset(
    group_name="drift",
    partitions_def=days_of_applications,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[
        interaction_logs,
        dg.AssetDep(feedback_logs, partition_mapping=_EVERY_PARTITION),
    ],
    kinds={"polars", "parquet"},
    owners=["team:llm-platform"],
)
def quality_scores(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """How content the day's users were, with what they said on later days joined in."""
    for partition in partitions_of(context.partition_keys):
        metadata: Mapping[str, dg.MetadataValue] = _NO_TRAFFIC
        if _has_traffic(installation, partition):
            rates = _rate_day(installation, partition)
            installation.table("quality_scores").write(partition, rates)
            metadata = _rate_metadata(rates)
        context.add_asset_metadata(metadata, partition_key=partition_key(partition))
    return dg.MaterializeResult()


_NO_TRAFFIC: Mapping[str, dg.MetadataValue] = {"n": dg.MetadataValue.int(0)}


def _has_traffic(installation: Installation, partition: Partition) -> bool:
    return installation.table("interaction_logs").generation(partition) is not None


def _score_metadata(
    version: str, found: Sequence[scores.DriftScore], map_png: bytes | None
) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        "model_version": dg.MetadataValue.text(version),
        "n": dg.MetadataValue.int(found[0].n),
        "is_drifted": dg.MetadataValue.bool(any(score.is_drifted for score in found)),
    }
    for score in found:
        if math.isnan(score.score):
            metadata["reason"] = dg.MetadataValue.text(score.reason or "undefined")
            continue
        metadata[score.detector] = dg.MetadataValue.float(score.score)
        metadata[f"{score.detector}_threshold"] = dg.MetadataValue.float(score.threshold)
        metadata[f"{score.detector}_interval"] = dg.MetadataValue.text(
            f"[{score.interval_low:.3f}, {score.interval_high:.3f}], n={score.n}"
        )
    if map_png is not None:
        metadata["map"] = picture(map_png, alt="baseline against current prompts")
    return metadata


def _rate_day(installation: Installation, partition: Partition) -> pl.DataFrame:
    """Return the day's rates, with the feedback of later days joined in."""
    name, day = partition.application, partition.date
    late = timedelta(days=installation.application(name).curation.late_feedback_days)
    feedback = installation.feedback(name, day, day + late)
    return quality.quality_scores(
        installation.interactions(name, day, day), feedback.filter(~pl.col("is_over_cap"))
    )


def _rate_metadata(rates: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    for rate in rates.filter(pl.col("n") > 0).iter_rows(named=True):
        metadata[rate["metric"]] = dg.MetadataValue.float(rate["value"])
        metadata[f"{rate['metric']}_interval"] = dg.MetadataValue.text(
            f"[{rate['interval_low']:.3f}, {rate['interval_high']:.3f}], n={rate['n']}"
        )
    return metadata


def _accepted_prompts(installation: Installation, version: str) -> list[str]:
    application = application_of(version)
    datasets = DatasetStore(installation.lance)
    if version in datasets.model_versions(application):
        return datasets.read(version).rows["prompt"].to_list()
    days = _reference_days(installation, version)
    rows = installation.interactions(application)
    return embeddings.embeddable(rows.filter(pl.col("time").dt.date().is_in(days)))


def _reference_days(installation: Installation, version: str) -> list[date]:
    """Return the days whose traffic is the version's baseline; none if it has a training set."""
    application = application_of(version)
    if version in DatasetStore(installation.lance).model_versions(application):
        return []
    days = installation.table("interaction_logs").dates(application)
    return reference_dates(days, config=installation.application(application).drift)


def _version_of(installation: Installation, application: str, model: str) -> str:
    """Return the model version that a model's traffic is held against.

    A model that is served elsewhere goes by a name of its own: the champion stands for it.
    """
    entry = installation.registry.entry(application)
    return model if model in entry.versions or entry.champion is None else entry.champion


def _score_day(
    installation: Installation, partition: Partition
) -> tuple[str, list[scores.DriftScore], bytes | None]:
    """Return the version that served most of a day, its scores, and a map where defined."""
    name, day = partition.application, partition.date
    rows = installation.interactions(name, day, day)
    prompts = embeddings.embeddable(rows)
    if not prompts:
        return "none", scores.undefined_scores("no prompts on this day", n=0, num_baseline=0), None
    version = _version_of(installation, name, str(rows["model_version"].mode().sort()[0]))
    store, n = BaselineStore(installation.lance), len(prompts)
    if version not in store.model_versions(name):
        reason = f"{version} has no baseline yet"
        return version, scores.undefined_scores(reason, n=n, num_baseline=0), None
    baseline = store.read(version)
    if day in _reference_days(installation, version):
        reason, size = f"the day belongs to the baseline of {version}", len(baseline.prompts)
        return version, scores.undefined_scores(reason, n=n, num_baseline=size), None
    vectors = embeddings.embed(prompts, cache=EmbeddingCache(installation.lance))
    found = scores.score_window(
        vectors,
        baseline,
        embedder=MiniLM.name,
        config=installation.application(name).drift,
        rng=np.random.default_rng(seed_of(partition)),
    )
    is_defined = not all(math.isnan(score.score) for score in found)
    title = f"{name}, {day}"
    png = plot.map_png(vectors, baseline.vectors, title=title) if is_defined else None
    return version, found, png
