"""The adapter of a model version.

Belongs here: the asset of the group `training`. The training itself runs in a process of its own,
`llm_assets.training.worker`, and reports through Dagster Pipes.
"""

import shutil
from datetime import UTC, datetime

import dagster as dg

from llm_assets.applications import Application, made_for
from llm_assets.assets.curation import curated_dataset
from llm_assets.assets.partitions import model_versions
from llm_assets.curation.dataset import Dataset
from llm_assets.curation.store import DatasetStore
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest, application_of, code_version
from llm_assets.training.base_model import prepare_hf
from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.launch import worker_command, worker_environment


@dg.asset(
    group_name="training",
    partitions_def=model_versions,
    deps=[curated_dataset],
    kinds={"deepspeed", "huggingface", "pytorch"},
    owners=["team:llm-platform"],
    pool="trainer",
)
def finetuned_checkpoint(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    pipes: dg.ResourceParam[dg.PipesSubprocessClient],
) -> dg.MaterializeResult:
    """A LoRA adapter and its manifest, which is enough to train the same weights again."""
    version = context.partition_key
    dataset = DatasetStore(installation.lance).read(version)
    # Read once: what it says while the training runs is not what the version was made for.
    application = installation.application(application_of(version))
    job = _prepare_job(installation, application, version, dataset)
    job_file = job.rows_file.with_name("job.json")
    job.write(job_file)
    pipes.run(
        context=context,
        command=worker_command(job_file),
        env=dict(worker_environment(job.config)),
    )
    manifest = _manifest(installation, application, job, dataset, run_id=context.run.run_id)
    manifest.write(job.output_dir)
    return dg.MaterializeResult(
        metadata={
            **manifest.metrics,
            "path": dg.MetadataValue.path(job.output_dir),
            "dataset_sha256": dataset.sha256,
            "base_model_sha256": manifest.base_model_sha256,
            "manifest": dg.MetadataValue.json(manifest.to_json()),
        },
        data_version=dg.DataVersion(manifest.adapter_sha256 or ""),
    )


def _prepare_job(
    installation: Installation, application: Application, version: str, dataset: Dataset
) -> TrainingJob:
    folder = installation.model(version)
    if (folder / "manifest.json").exists():
        raise UserError(f"{folder}: model versions are not replaced; open a new cycle")
    # Without a manifest it is what an interrupted attempt left behind.
    shutil.rmtree(folder, ignore_errors=True)
    workplace = installation.home / "run" / "training" / version
    workplace.mkdir(parents=True, exist_ok=True)
    rows_file = workplace / "rows.parquet"
    dataset.learnt.write_parquet(rows_file)
    return TrainingJob(
        model_version=version,
        base_model_dir=prepare_hf(
            installation.base_model(application.name), installation.base_models
        ),
        rows_file=rows_file,
        system_prompt=application.system_prompt or None,
        config=application.training,
        output_dir=folder,
    )


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
        adapter_sha256=result.adapter_sha256,
        library_versions=result.library_versions,
        metrics=result.metrics,
    )
