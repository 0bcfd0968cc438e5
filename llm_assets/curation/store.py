"""Curated datasets in LanceDB: a table an application, and a tag on it a model version."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from llm_assets.curation.dataset import DATASET_SCHEMA, Dataset
from llm_assets.manifest import application_of
from llm_assets.versioned_table import VersionedTable


@dataclass(frozen=True)
class DatasetStore:
    """The datasets of all model versions under `root`; one writer an application at a time."""

    root: Path

    def write(self, dataset: Dataset, *, model_version: str) -> int:
        """Keep the dataset of a model version and return Lance's number for it."""
        return self._table(model_version).write(model_version, dataset.rows)

    def read(self, model_version: str) -> Dataset:
        """Return the dataset of a model version, with the hash that it was written with.

        Raises:
            UserError: there is none.
        """
        rows = self._table(model_version).read(model_version)
        return Dataset(rows.select(DATASET_SCHEMA.names()))

    def model_versions(self, application: str) -> list[str]:
        """Return the model versions that have a dataset."""
        return VersionedTable(self.root, f"curated_dataset_{application}").tags()

    def rewrite(self, application: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Let `change` take rows out of the datasets of all model versions, for good."""
        VersionedTable(self.root, f"curated_dataset_{application}").rewrite(change)

    def _table(self, model_version: str) -> VersionedTable:
        return VersionedTable(self.root, f"curated_dataset_{application_of(model_version)}")
