"""Training a registered version again from what the installation keeps of it."""

import tempfile
from pathlib import Path

from llm_assets.curation.store import DatasetStore
from llm_assets.curation.training_rows import training_rows
from llm_assets.erasures import Erasures, reaches
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest, application_of
from llm_assets.training.reproduce import Reproduction, reproduce


def reproduce_version(installation: Installation, model_version: str) -> Reproduction:
    """Retrain a version from its manifest and its dataset, and compare the weights.

    Raises:
        UserError: there is no such version or it was never trained, or the base model or the
            dataset is not the one that it was made of, e.g. because data was erased from it.
    """
    _require_unerased(installation, model_version)
    base = installation.base_model(application_of(model_version))
    manifest = ModelManifest.read(installation.model(model_version))
    with tempfile.TemporaryDirectory(prefix="llm-assets-rows-") as folder:
        rows_file = Path(folder) / "rows.parquet"
        dataset_sha256 = "none"
        if manifest.dataset_version is not None:
            dataset = DatasetStore(installation.lance).read(manifest.dataset_version)
            config = (manifest.training or {}).get("config") or {}
            training_rows(dataset, config.get("method", "sft")).write_parquet(rows_file)
            dataset_sha256 = dataset.sha256
        return reproduce(
            manifest,
            base=base,
            cache=installation.base_models,
            rows_file=rows_file,
            dataset_sha256=dataset_sha256,
        )


def _require_unerased(installation: Installation, model_version: str) -> None:
    for reach in reaches(Erasures.of(installation.home).all(), champions=()):
        num_rows = reach.mark.num_learnt + reach.mark.num_holdout
        if reach.model_version == model_version and num_rows:
            raise UserError(
                f"{model_version}: cannot be made again, because data was erased from its dataset: "
                f"{num_rows} rows of {reach.users}, last on {reach.last_erased}"
            )
