"""What users did instead of saying it: the signals in their sessions, a day at a time.

Belongs here: the asset `implicit_feedback` of the group `feedback`. The rules and how their
threshold is calibrated are in `llm_assets.feedback.implicit`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import dagster as dg
import numpy as np

from llm_assets.assets.drift import prompt_embeddings
from llm_assets.assets.feedback import interaction_logs
from llm_assets.assets.partitions import days_of_applications, partition_key, partitions_of
from llm_assets.assets.pictures import picture
from llm_assets.drift.embedding import embeddings
from llm_assets.feedback.implicit import rules
from llm_assets.feedback.implicit.calibration import Calibration, calibrate, sample_prompts
from llm_assets.feedback.implicit.plot import similarity_png
from llm_assets.feedback.implicit.sessions import Turn, sessions_of
from llm_assets.feedback.tables import feedback_table
from llm_assets.installation import Installation
from llm_assets.records import Feedback
from llm_assets.storage import Partition

_MIN_DRAWN_PAIRS = 10

# A session that crosses midnight needs the day before as well.
_DAY_AND_DAY_BEFORE = dg.MultiPartitionMapping(
    {
        "application": dg.DimensionPartitionMapping("application", dg.IdentityPartitionMapping()),
        "date": dg.DimensionPartitionMapping(
            "date",
            dg.TimeWindowPartitionMapping(
                start_offset=-1, allow_nonexistent_upstream_partitions=True
            ),
        ),
    }
)


@dg.asset(
    group_name="feedback",
    partitions_def=days_of_applications,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[
        dg.AssetDep(interaction_logs, partition_mapping=_DAY_AND_DAY_BEFORE),
        dg.AssetDep(prompt_embeddings, partition_mapping=_DAY_AND_DAY_BEFORE),
    ],
    code_version=rules.CODE_VERSION,
    kinds={"numpy", "parquet"},
    owners=["team:llm-platform"],
)
def implicit_feedback(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """What users showed of their answers by asking again, rejecting, thanking or leaving.

    A day holds the signals that were seen on it. A session that ended in its last half hour shows
    so on the next day. Working through a day again replaces what older rules found.
    """
    for partition in partitions_of(context.partition_keys):
        found = _signals_of(installation, partition)
        table = installation.table("implicit_feedback")
        if found.signals or table.generation(partition) is not None:
            table.write(
                partition, feedback_table(found.signals), inputs=sorted(rules.RULES.values())
            )
        context.add_asset_metadata(
            _metadata(found, title=f"{partition.application}, {partition.date}"),
            partition_key=partition_key(partition),
        )
    return dg.MaterializeResult()


class _Found(NamedTuple):
    signals: list[Feedback]
    num_sessions: int
    calibration: Calibration | None
    similarities: Sequence[float]


def _signals_of(installation: Installation, partition: Partition) -> _Found:
    name, day = partition.application, partition.date
    config = installation.application(name).feedback.implicit
    start = datetime.combine(day, time.min, UTC)
    recent = installation.interactions(name, day - timedelta(days=1), day)
    active_since = start - timedelta(seconds=config.session_gap_seconds)
    sessions = sessions_of(recent, active_since=active_since)
    candidates = rules.rephrase_candidates(sessions, config=config)
    calibration, similarities = None, {}
    if candidates:
        calibration, similarities = _compare(installation, partition, candidates)
    threshold = math.nan if calibration is None else calibration.threshold
    signals = rules.find_signals(sessions, similarities, threshold=threshold, config=config)
    of_the_day = [signal for signal in signals if signal.date == day]
    return _Found(of_the_day, len(sessions), calibration, list(similarities.values()))


def _compare(
    installation: Installation, partition: Partition, candidates: Sequence[tuple[Turn, Turn]]
) -> tuple[Calibration, dict[str, float]]:
    """Return the calibration of a day, and the similarity of each candidate pair by request."""
    name, day = partition.application, partition.date
    config = installation.application(name).feedback.implicit
    rng = np.random.default_rng(partition.seed)
    first = day - timedelta(days=config.calibration_days - 1)
    sample = sample_prompts(installation.session_prompts(name, first, day), rng=rng)
    needed = {*sample["prompt"], *sample["two_later"].drop_nulls()}
    needed |= {turn.prompt for pair in candidates for turn in pair}
    prompts = sorted(needed)
    vectors = embeddings.embed(
        prompts, cache=installation.embeddings, embedder=installation.embedder(name)
    )
    vector_of = dict(zip(prompts, vectors, strict=True))
    similarities = {
        turn.request_id: float(vector_of[turn.prompt] @ vector_of[following.prompt])
        for turn, following in candidates
    }
    return calibrate(sample, vector_of, config=config, rng=rng), similarities


def _metadata(found: _Found, *, title: str) -> dict[str, dg.MetadataValue]:
    counts = Counter(str(signal.kind) for signal in found.signals)
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(len(found.signals)),
        "num_sessions": dg.MetadataValue.int(found.num_sessions),
        **{f"num_{kind}": dg.MetadataValue.int(counts[kind]) for kind in rules.RULES},
    }
    calibration = found.calibration
    if calibration is None:
        return metadata
    metadata["num_candidate_pairs"] = dg.MetadataValue.int(len(found.similarities))
    metadata["num_chance_pairs"] = dg.MetadataValue.int(len(calibration.chance))
    metadata["num_topic_pairs"] = dg.MetadataValue.int(len(calibration.topic))
    if math.isnan(calibration.threshold):
        metadata["reason"] = dg.MetadataValue.text(
            "no rephrase: too few pairs of prompts from different sessions to calibrate it"
        )
        return metadata
    metadata["rephrase_threshold"] = dg.MetadataValue.float(calibration.threshold)
    if len(found.similarities) >= _MIN_DRAWN_PAIRS:
        png = similarity_png(calibration, found.similarities, title=title)
        metadata["similarity"] = picture(png, alt="similarity of prompts by chance and in sessions")
    return metadata
