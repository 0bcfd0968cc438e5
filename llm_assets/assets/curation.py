"""The training data of a model version, made of what users said.

Belongs here: the assets of the group `curation` and their checks. What becomes a row is decided
in `llm_assets.curation`.
"""

import dagster as dg
import polars as pl

from llm_assets.assets.feedback import feedback_logs, interaction_logs
from llm_assets.assets.partitions import model_versions
from llm_assets.curation.dataset import curate, shuffled_labels
from llm_assets.curation.store import DatasetStore
from llm_assets.deployment.incidents import golden_request_ids
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.normalise import normalise

_EVERY_PARTITION = dg.AllPartitionMapping()


class CurationRunConfig(dg.Config):
    """What a person may ask of one run.

    `shuffle_labels` makes a dataset that teaches nonsense, to see the gate refuse its model.
    """

    shuffle_labels: bool = False


@dg.asset(
    group_name="curation",
    partitions_def=model_versions,
    deps=[
        dg.AssetDep(interaction_logs, partition_mapping=_EVERY_PARTITION),
        dg.AssetDep(feedback_logs, partition_mapping=_EVERY_PARTITION),
    ],
    kinds={"lancedb", "polars"},
    owners=["team:llm-platform"],
    pool="lance_writer",
)
def curated_dataset(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    config: CurationRunConfig,
) -> dg.MaterializeResult:
    """The prompts with the answers that users wanted and did not want, in splits that stay."""
    version = context.partition_key
    application = installation.application(application_of(version))
    dataset = curate(
        installation.interactions(application.name),
        installation.feedback(application.name),
        config=application.curation,
        golden=golden_request_ids(installation.home, application.name),
    )
    if config.shuffle_labels:
        dataset = shuffled_labels(dataset, seed=application.training.seed)
    DatasetStore(installation.lance).write(dataset, model_version=version)
    summary = dataset.summary()
    return dg.MaterializeResult(
        metadata={
            **{key: value for key, value in summary.items() if isinstance(value, int)},
            "sources": summary["sources"],
            # Counts only: what Dagster stores, the erasure of a user cannot reach.
            "num_distinct_responses": len(summary["responses"]),
            "left_out": summary["left_out"],
            "has_shuffled_labels": config.shuffle_labels,
            "cause": context.run.tags.get("llm_assets/cause", "manual"),
            "dagster/column_lineage": _COLUMN_LINEAGE,
        },
        data_version=dg.DataVersion(dataset.sha256),
    )


_COLUMN_LINEAGE = dg.TableColumnLineage(
    {
        "prompt": [dg.TableColumnDep(interaction_logs.key, "prompt")],
        "response": [
            dg.TableColumnDep(feedback_logs.key, "text"),
            dg.TableColumnDep(feedback_logs.key, "rejected"),
            dg.TableColumnDep(interaction_logs.key, "response"),
        ],
        "is_desirable": [
            dg.TableColumnDep(feedback_logs.key, "kind"),
            dg.TableColumnDep(feedback_logs.key, "value"),
        ],
        "request_ids": [dg.TableColumnDep(interaction_logs.key, "request_id")],
        "feedback_ids": [dg.TableColumnDep(feedback_logs.key, "feedback_id")],
    }
)


@dg.asset_check(asset=curated_dataset, blocking=True, partitions_def=model_versions)
def curated_dataset_holdout_is_unseen(
    context: dg.AssetCheckExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.AssetCheckResult:
    """No question of the holdout stands among the rows or the answers that are trained on."""
    dataset = DatasetStore(installation.lance).read(context.partition_key)
    holdout = _questions(dataset.split("holdout"))
    held_out = holdout | _questions(dataset.judged.filter(pl.col("split") == "holdout"))
    shared = held_out & (_questions(dataset.learnt) | _questions(dataset.learnt_judged))
    return dg.AssetCheckResult(
        passed=not shared and bool(holdout),
        metadata={"num_holdout": len(holdout), "num_shared": len(shared)},
    )


def _questions(rows: pl.DataFrame) -> set[str]:
    return {normalise(prompt) for prompt in rows["prompt"]}
