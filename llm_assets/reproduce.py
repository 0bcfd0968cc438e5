"""Training a registered version again from what the installation keeps of it."""

import tempfile
from pathlib import Path

from llm_assets.curation.store import DatasetStore
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest, application_of
from llm_assets.training.reproduce import Reproduction, reproduce


def reproduce_version(installation: Installation, model_version: str) -> Reproduction:
    """Retrain a version from its manifest and its dataset, and compare the weights.

    Raises:
        UserError: there is no such version or it was never trained, or the base model or the
            dataset is not the one that it was made of.
    """
    base = installation.base_model(application_of(model_version))
    manifest = ModelManifest.read(installation.model(model_version))
    with tempfile.TemporaryDirectory(prefix="llm-assets-rows-") as folder:
        rows_file = Path(folder) / "rows.parquet"
        dataset_sha256 = "none"
        if manifest.dataset_version is not None:
            dataset = DatasetStore(installation.lance).read(manifest.dataset_version)
            dataset.learnt.write_parquet(rows_file)
            dataset_sha256 = dataset.sha256
        return reproduce(
            manifest,
            base=base,
            cache=installation.base_models,
            rows_file=rows_file,
            dataset_sha256=dataset_sha256,
        )
