"""The hyperparameters that a training should take.

Belongs here: the asset `hyperparameter_sweep` of the group `training`. What is tried, and who
stays, is decided in `llm_assets.training.sweep`.
"""

import math
from typing import Any

import dagster as dg

from llm_assets.assets.checks import require_passed
from llm_assets.assets.curation import curated_dataset, curated_dataset_holdout_is_unseen
from llm_assets.assets.partitions import model_versions
from llm_assets.assets.pictures import picture
from llm_assets.assets.training_job import prepare_job
from llm_assets.curation.store import DatasetStore
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.manifest import application_of
from llm_assets.training.sweep.plot import sweep_png
from llm_assets.training.sweep.result import Sweep
from llm_assets.training.sweep.run import run_sweep


@dg.asset(
    group_name="training",
    partitions_def=model_versions,
    deps=[curated_dataset],
    kinds={"deepspeed", "pytorch"},
    owners=["team:llm-platform"],
    pool="trainer",
    # A worker that died; what a user has to change first is never tried again.
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def hyperparameter_sweep(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    """The best of some hyperparameters by the validation rows; nothing where none are to be tried.

    The holdout plays no part, so the gate judges what comes of it as it judges any other version.
    """
    version = context.partition_key
    application = installation.application(application_of(version))
    if application.training.sweep is None:
        said = "training.sweep is not set: nothing was tried, the training takes what is configured"
        return dg.MaterializeResult(
            metadata={"reason": said}, data_version=dg.DataVersion("no sweep")
        )
    file = installation.home / "sweeps" / f"{version}.json"
    try:
        for check in curated_dataset_holdout_is_unseen.check_keys:
            require_passed(context.instance, check, version)
        dataset = DatasetStore(installation.lance).read(version)
        job = prepare_job(installation, application, version, dataset)
        sweep = run_sweep(job, file, dataset_sha256=dataset.sha256, say=context.log.info)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return dg.MaterializeResult(
        metadata={**_metadata(sweep), "path": dg.MetadataValue.path(file)},
        data_version=dg.DataVersion(sweep.sha256),
    )


def _metadata(sweep: Sweep) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "best": dg.MetadataValue.json(sweep.best.hyperparameters),
        "best_trial": sweep.best.number,
        "validation_loss": sweep.best.losses[-1],
        "num_trials": len(sweep.trials),
        "num_refused": sum(trial.refusal is not None for trial in sweep.trials),
        "num_validation_rows": sweep.num_validation_rows,
        "num_steps": sweep.num_steps,
        "seconds": sweep.seconds,
        "dataset_sha256": sweep.dataset_sha256,
        "trials": _table(sweep),
        "losses": picture(sweep_png(sweep), alt="validation loss of each trial by rung"),
    }
    if math.isnan(sweep.improvement):
        metadata["reason"] = f"what is configured cannot be trained: {sweep.trials[0].refusal}"
    else:
        metadata["improvement"] = sweep.improvement
    return metadata


def _table(sweep: Sweep) -> dg.TableMetadataValue:
    names = [f"loss after {rung.num_steps} steps" for rung in sweep.rungs]
    columns = ["trial", *sweep.best.hyperparameters, *names, "refused"]
    records = []
    for trial in sweep.trials:
        losses = [*trial.losses, *[None] * (len(names) - len(trial.losses))]
        values = [trial.number, *trial.hyperparameters.values(), *losses, trial.refusal]
        records.append(dg.TableRecord(dict(zip(columns, values, strict=True))))
    schema = dg.TableSchema([dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records, schema=schema)
