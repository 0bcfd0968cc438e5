"""The job that trains a model version, for the assets that train it or try how it should be."""

from pathlib import Path

import polars as pl

from llm_assets.applications import Application
from llm_assets.curation.dataset import Dataset
from llm_assets.curation.training_rows import training_rows
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.training.base_model import prepare_hf
from llm_assets.training.config import Method
from llm_assets.training.job import TrainingJob
from llm_assets.training.texts import read_texts


def prepare_job(
    installation: Installation, application: Application, version: str, dataset: Dataset
) -> TrainingJob:
    """Return the job with what is configured; its rows lie in its workplace.

    Raises:
        UserError: the version is made already, or what the job needs is not there.
    """
    folder = installation.model(version)
    if (folder / "manifest.json").exists():
        raise UserError(f"{folder}: model versions are not replaced; open a new cycle")
    # What an earlier attempt at this version has left is the worker's to judge: it goes on from
    # its checkpoint, or has ended already.
    workplace = installation.home / "run" / "training" / version
    workplace.mkdir(parents=True, exist_ok=True)
    rows_file = workplace / "rows.parquet"
    _rows(application, dataset).write_parquet(rows_file)
    return TrainingJob(
        model_version=version,
        base_model_dir=prepare_hf(
            installation.base_model(application.name), installation.base_models
        ),
        rows_file=rows_file,
        system_prompt=application.system_prompt or None,
        config=application.training,
        output_dir=folder,
        work_dir=workplace,
    )


def _rows(application: Application, dataset: Dataset) -> pl.DataFrame:
    config = application.training
    if config.method is Method.PRETRAINING:
        assert config.texts_file is not None
        rate = application.curation.validation_rate
        return read_texts(Path(config.texts_file), validation_rate=rate)
    return training_rows(dataset, config.method)
