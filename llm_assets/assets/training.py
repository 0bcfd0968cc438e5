"""The trained weights of a model version.

Belongs here: the asset `finetuned_checkpoint` of the group `training`. The training itself runs in
processes of its own, `llm_assets.training.worker`, and reports through Dagster Pipes.
"""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from llm_assets.applications import Application, made_for
from llm_assets.assets.checks import require_passed
from llm_assets.assets.curation import curated_dataset, curated_dataset_holdout_is_unseen
from llm_assets.assets.partitions import model_versions
from llm_assets.assets.pictures import picture
from llm_assets.assets.sweep import hyperparameter_sweep
from llm_assets.assets.training_job import prepare_job
from llm_assets.curation.dataset import Dataset
from llm_assets.curation.store import DatasetStore
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest, application_of, code_version
from llm_assets.resources.trainer import Trainer
from llm_assets.training.job import TrainingJob, TrainingResult, read_history
from llm_assets.training.plot import loss_png
from llm_assets.training.sweep.result import best_config


@dg.asset(
    group_name="training",
    partitions_def=model_versions,
    deps=[curated_dataset, hyperparameter_sweep],
    kinds={"deepspeed", "huggingface", "pytorch"},
    owners=["team:llm-platform"],
    pool="trainer",
    # A worker that died; what a user has to change first is never tried again.
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def finetuned_checkpoint(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    trainer: Trainer,
) -> dg.MaterializeResult:
    """The trained weights and their manifest, which is enough to train the same again."""
    version = context.partition_key
    # Read once: what it says while the training runs is not what the version was made for.
    application = installation.application(application_of(version))
    try:
        for check in curated_dataset_holdout_is_unseen.check_keys:
            require_passed(context.instance, check, version)
        dataset = DatasetStore(installation.lance).read(version)
        job = _job(installation, application, version, dataset)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    job_file = job.work_dir / "job.json"
    job.write(job_file)
    trainer.train(context, job_file, job)
    manifest = _manifest(installation, application, job, dataset, run_id=context.run.run_id)
    manifest.write(job.output_dir)
    return dg.MaterializeResult(
        metadata={
            **manifest.metrics,
            "energy_source": manifest.energy_source,
            "path": dg.MetadataValue.path(job.output_dir),
            "dataset_sha256": dataset.sha256,
            "base_model_sha256": manifest.base_model_sha256,
            "loss": picture(loss_png(read_history(job.output_dir)), alt="loss by step"),
            "manifest": dg.MetadataValue.json(manifest.to_json()),
        },
        data_version=dg.DataVersion(manifest.adapter_sha256 or ""),
    )


def _job(
    installation: Installation, application: Application, version: str, dataset: Dataset
) -> TrainingJob:
    job = prepare_job(installation, application, version, dataset)
    sweep_file = installation.home / "sweeps" / f"{version}.json"
    return replace(job, config=best_config(job.config, sweep_file, dataset.sha256))


def _cost(application: Application, result: TrainingResult) -> float:
    """Return what the training cost, in the currency of `triggers.gpu_hour_cost`."""
    hours = result.metrics["seconds"] / 3600 * application.training.compute.world_size
    return hours * application.triggers.gpu_hour_cost


def _manifest(
    installation: Installation,
    application: Application,
    job: TrainingJob,
    dataset: Dataset,
    *,
    run_id: str,
) -> ModelManifest:
    result = TrainingResult.read(job.output_dir)
    return ModelManifest(
        model_version=job.model_version,
        application=application.name,
        base_model_sha256=installation.base_model(application.name).sha256,
        created_at=datetime.now(UTC),
        code_version=code_version(),
        system_prompt_sha256=made_for(application).system_prompt_sha256,
        evaluation_sha256=made_for(application).evaluation_sha256,
        run_id=run_id,
        dataset_version=job.model_version,
        dataset_sha256=dataset.sha256,
        training=job.recipe,
        seed=job.config.seed,
        adapter_sha256=result.weights_sha256,
        energy_source=result.energy_source,
        library_versions=result.library_versions,
        metrics={**result.metrics, "cost": _cost(application, result)},
    )
