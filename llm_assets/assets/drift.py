"""How far today's questions and satisfaction are from what the model version was made for.

Belongs here: the assets of the group `drift`. The statistics are in `llm_assets.drift`, and a day
is held against its reference in `llm_assets.drift_day`.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

import dagster as dg
import polars as pl

from llm_assets.assets.feedback import feedback_logs, interaction_logs
from llm_assets.assets.partitions import (
    days_of_applications,
    model_versions,
    partition_key,
    partitions_of,
)
from llm_assets.assets.pictures import picture
from llm_assets.assets.progress import with_progress
from llm_assets.curation.store import DatasetStore
from llm_assets.drift import quality
from llm_assets.drift.baseline import Baseline, BaselineStore, first_prompts
from llm_assets.drift.embedding import embeddings
from llm_assets.drift.scores import DriftScore, score_table
from llm_assets.drift.topics import Topic, topic_table
from llm_assets.drift.window import window
from llm_assets.drift_day import DayScorer, ScoredDay, reference_days
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.storage import Partition

_EVERY_PARTITION = dg.AllPartitionMapping()
_NO_TRAFFIC: Mapping[str, dg.MetadataValue] = {"n": dg.MetadataValue.int(0)}
# How far back answers are looked for whose confidence and verdict are both known.
_CALIBRATION_DAYS = 90
_SHOWN_LANGUAGES = 5


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
    """The prompts as unit vectors; each distinct prompt is computed once, ever.

    Of a day with more than `drift.max_prompts`, only those are embedded that are looked at.
    """
    partitions = partitions_of(context.partition_keys)
    names = {partition.application for partition in partitions}
    limits = {name: installation.application(name).drift.max_prompts for name in names}
    embedders = {name: installation.embedder(name) for name in names}
    for partition in with_progress(partitions, context.log.info, noun="days embedded"):
        name, day = partition.application, partition.date
        asked = window(installation.interactions(name, day, day), max_prompts=limits[name])
        embedder, prompts = embedders[name], asked["prompt"].to_list()
        embeddings.embed(prompts, cache=installation.embeddings, embedder=embedder)
        context.add_asset_metadata(
            {
                "dagster/partition_row_count": asked.height,
                "num_distinct": asked["prompt"].n_unique(),
                "embedder": embedder.name,
            },
            partition_key=partition_key(partition),
        )
    return dg.MaterializeResult()


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
    embedder = installation.embedder(application_of(version))
    vectors = embeddings.embed(prompts, cache=installation.embeddings, embedder=embedder)
    baseline = Baseline(
        model_version=version, embedder=embedder.name, prompts=prompts, vectors=vectors
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
    """How far a day is from what the version that served was made for, by detector, and where."""
    scorers: dict[str, DayScorer] = {}
    partitions = partitions_of(context.partition_keys)
    for partition in with_progress(partitions, context.log.info, noun="days scored"):
        name = partition.application
        if name not in scorers:
            scorers[name] = DayScorer(installation, installation.application(name))
        metadata = _NO_TRAFFIC
        if _has_traffic(installation, partition):
            scored = scorers[name].score(partition.date)
            _keep(installation, partition, scored, embedder=scorers[name].embedder.name)
            metadata = _score_metadata(partition, scored)
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
    partitions = partitions_of(context.partition_keys)
    for partition in with_progress(partitions, context.log.info, noun="days rated"):
        metadata = _NO_TRAFFIC
        if _has_traffic(installation, partition):
            rates = _rate_day(installation, partition)
            installation.table("quality_scores").write(partition, rates)
            metadata = _rate_metadata(rates)
        context.add_asset_metadata(metadata, partition_key=partition_key(partition))
    return dg.MaterializeResult()


def _has_traffic(installation: Installation, partition: Partition) -> bool:
    return installation.table("interaction_logs").generation(partition) is not None


def _keep(
    installation: Installation, partition: Partition, scored: ScoredDay, *, embedder: str
) -> None:
    table = score_table(scored.scores, model_version=scored.model_version, embedder=embedder)
    installation.table("drift_scores").write(partition, table)
    installation.table("drift_topics").write(partition, topic_table(scored.topics))


def _score_metadata(partition: Partition, scored: ScoredDay) -> dict[str, dg.MetadataValue]:
    """Return the scores for the UI, which draws numbers over time; no text of users is in it."""
    deciding = [score for score in scored.scores if score.decides]
    metadata: dict[str, dg.MetadataValue] = {
        "model_version": dg.MetadataValue.text(scored.model_version),
        "n": dg.MetadataValue.int(max(score.n for score in deciding)),
        "is_drifted": dg.MetadataValue.bool(any(score.is_drifted for score in deciding)),
    }
    if all(math.isnan(score.score) for score in deciding):
        metadata["reason"] = dg.MetadataValue.text(deciding[0].reason or "undefined")
    if scored.topics:
        metadata["what_moved"] = dg.MetadataValue.table(list(map(_topic_record, scored.topics)))
        command = f"llm-assets drift show {partition.date} --application {partition.application}"
        metadata["prompts"] = dg.MetadataValue.text(f"`{command}` shows typical prompts")
    if scored.map_png is not None:
        metadata["map"] = picture(scored.map_png, alt="baseline against current prompts")
        metadata["scores"] = dg.MetadataValue.table(list(map(_score_record, scored.scores)))
    if scored.languages:
        mix = list(scored.languages.items())[:_SHOWN_LANGUAGES]
        shown = ", ".join(f"{name} {share:.1%}" for name, share in mix)
        metadata["languages"] = dg.MetadataValue.text(shown)
    for score in scored.scores:
        if not math.isnan(score.score):
            metadata[str(score.detector)] = dg.MetadataValue.float(score.score)
            if score.decides and math.isfinite(score.threshold):
                metadata[f"{score.detector}_threshold"] = dg.MetadataValue.float(score.threshold)
    return metadata


def _score_record(score: DriftScore) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "detector": str(score.detector),
            "says": score.reason or _verdict(score),
            "score": _shown(score.score),
            "threshold": _shown(score.threshold),
            "n": score.n,
            "interval": f"[{_shown(score.interval_low)}, {_shown(score.interval_high)}]",
            "effect size": _shown(score.effect_size),
        }
    )


def _verdict(score: DriftScore) -> str:
    if score.score <= score.threshold:
        return "as usual"
    return "drifted" if score.decides else "over, decides nothing"


def _topic_record(topic: Topic) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "topic": topic.public_name,
            "kind": topic.kind,
            "share": f"{topic.share:.1%}",
            "share of the baseline": f"{topic.baseline_share:.1%}",
            "growth": f"[{topic.interval.low:+.1%}, {topic.interval.high:+.1%}]",
            "prompts": topic.num_prompts,
        }
    )


def _shown(number: float) -> str:
    return "undefined" if math.isnan(number) else f"{number:.4g}"


def _rate_day(installation: Installation, partition: Partition) -> pl.DataFrame:
    """Return the day's rates, with the feedback of later days joined in."""
    name, day = partition.application, partition.date
    late = timedelta(days=installation.application(name).curation.late_feedback_days)
    rows = installation.interactions(name, day, day)
    feedback = installation.feedback(name, day, day + late)
    version = quality.confident_version(rows)
    calibration = None
    if version is not None:
        first, last = day - timedelta(days=_CALIBRATION_DAYS), day - timedelta(days=1)
        # What was said later than the day must not tell how sure the model was on it.
        said = installation.feedback(name, first, last).filter(~pl.col("is_over_cap"))
        calibration = quality.calibration_of(
            version, installation.confidences(name, first, last), said
        )
    return quality.quality_scores(
        rows, feedback.filter(~pl.col("is_over_cap")), calibration=calibration
    )


def _rate_metadata(rates: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    for rate in rates.iter_rows(named=True):
        if math.isnan(rate["value"]):
            if rate["reason"] is not None:
                metadata[f"{rate['metric']}_undefined"] = dg.MetadataValue.text(rate["reason"])
            continue
        metadata[rate["metric"]] = dg.MetadataValue.float(rate["value"])
        metadata[f"{rate['metric']}_interval"] = dg.MetadataValue.text(
            f"[{rate['interval_low']:.3f}, {rate['interval_high']:.3f}], n={rate['n']}"
        )
    return metadata


def _accepted_prompts(installation: Installation, version: str) -> Sequence[str]:
    name = application_of(version)
    datasets = DatasetStore(installation.lance)
    if version in datasets.model_versions(name):
        return datasets.read(version).rows["prompt"].to_list()
    days = reference_days(installation, installation.application(name), version)
    if not days:
        return []
    return first_prompts(installation.interactions(name, days[0], days[-1]))
