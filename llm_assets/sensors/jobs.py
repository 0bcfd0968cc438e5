"""The jobs that sensors start, and the tags by which their runs are found again."""

import dagster as dg

from llm_assets.assets import (
    curation,
    deployment,
    drift,
    evaluation,
    feedback,
    implicit,
    sweep,
    training,
)

APPLICATION_TAG = "llm_assets/application"
CAUSE_TAG = "llm_assets/cause"
REASON_TAG = "llm_assets/reason"

daily_logs = dg.define_asset_job(
    "daily_logs",
    selection=[
        feedback.interaction_logs,
        feedback.feedback_logs,
        drift.prompt_embeddings,
        drift.drift_scores,
        drift.quality_scores,
        implicit.implicit_feedback,
    ],
    description="Work through days of logs: tables, embeddings, drift, quality, signals.",
)

first_baseline = dg.define_asset_job(
    "first_baseline",
    selection=[drift.embedding_baseline],
    description="Make the baseline of a version that has no training set of its own.",
)

rescore_drift = dg.define_asset_job(
    "rescore_drift",
    selection=[drift.drift_scores],
    description="Score days again that were seen before there was a baseline.",
)

improvement_cycle = dg.define_asset_job(
    "improvement_cycle",
    selection=dg.AssetSelection.assets(
        curation.curated_dataset,
        drift.embedding_baseline,
        sweep.hyperparameter_sweep,
        training.finetuned_checkpoint,
        evaluation.eval_report,
        deployment.registered_model,
    ),
    # A run whose process died goes on in another one; a candidate that was refused stays refused.
    tags={"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"},
    description="Curate, train, evaluate, and register one new model version.",
)

deploy_newest = dg.define_asset_job(
    "deploy_newest",
    selection=[deployment.deployed_endpoint],
    description="Start the rollout of the newest registered version.",
)

JOBS = [daily_logs, first_baseline, rescore_drift, improvement_cycle, deploy_newest]
