"""Curated datasets in LanceDB: two tables an application, and a tag on each a model version."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from llm_assets.curation.dataset import DATASET_SCHEMA, Dataset
from llm_assets.curation.judged import JUDGED_SCHEMA
from llm_assets.manifest import application_of
from llm_assets.versioned_table import VersionedTable


@dataclass(frozen=True)
class DatasetStore:
    """The datasets of all model versions under `root`; one writer an application at a time."""

    root: Path

    def write(self, dataset: Dataset, *, model_version: str) -> int:
        """Keep the dataset of a model version and return Lance's number for its rows."""
        application = application_of(model_version)
        # First, because a version whose rows can be read is taken for complete.
        self._judged(application).write(model_version, dataset.judged)
        return self._rows(application).write(model_version, dataset.rows)

    def read(self, model_version: str) -> Dataset:
        """Return the dataset of a model version, with the hash that it was written with.

        Raises:
            UserError: there is none.
        """
        application = application_of(model_version)
        rows = self._rows(application).read(model_version).select(DATASET_SCHEMA.names())
        judged = self._judged(application)
        if model_version not in judged.tags():
            return Dataset(rows)  # written before answers were judged
        return Dataset(rows, judged.read(model_version).select(JUDGED_SCHEMA.names()))

    def model_versions(self, application: str) -> list[str]:
        """Return the model versions that have a dataset."""
        return self._rows(application).tags()

    def rewrite(self, application: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Let `change` take rows out of the datasets of all model versions, for good.

        It is given the rows of each and the judged answers of each.
        """
        for table in (self._judged(application), self._rows(application)):
            table.rewrite(change)

    def _rows(self, application: str) -> VersionedTable:
        return VersionedTable(self.root, f"curated_dataset_{application}")

    def _judged(self, application: str) -> VersionedTable:
        return VersionedTable(self.root, f"judged_answers_{application}")
