"""What a model version's users are expected to ask: the prompts that today's are compared with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.window import window
from llm_assets.errors import UserError
from llm_assets.manifest import application_of
from llm_assets.versioned_table import VersionedTable

MAX_BASELINE_PROMPTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The prompts that a model version was trained or accepted on, with their vectors."""

    model_version: str
    embedder: str
    prompts: Sequence[str]
    vectors: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.prompts) == len(self.vectors)

    def other_embedder(self, embedder: str) -> str | None:
        """Return why vectors of an embedder lie in another space, or None where they do not."""
        if embedder == self.embedder:
            return None
        return (
            f"baseline of {self.model_version}: embedded by {self.embedder!r}, cannot be "
            f"compared with vectors of {embedder!r}; materialize embedding_baseline again"
        )

    def require_embedder(self, embedder: str) -> None:
        """Refuse to be compared with vectors of another space.

        Raises:
            UserError: the baseline was embedded by another model.
        """
        reason = self.other_embedder(embedder)
        if reason is not None:
            raise UserError(reason)


@dataclass(frozen=True)
class BaselineStore:
    """The baselines of all model versions, in one Lance table an application under `root`."""

    root: Path

    def write(self, baseline: Baseline) -> None:
        """Keep a baseline; that of the same model version is replaced."""
        width = baseline.vectors.shape[1]
        frame = pl.DataFrame(
            {
                "prompt": pl.Series(baseline.prompts, dtype=pl.String),
                "vector": pl.Series(baseline.vectors, dtype=pl.Array(pl.Float32, width)),
            }
        ).with_columns(embedder=pl.lit(baseline.embedder, pl.String))
        self._table(baseline.model_version).write(baseline.model_version, frame)

    def read(self, model_version: str) -> Baseline:
        """Return the baseline of a model version.

        Raises:
            UserError: there is none, or it holds no prompts.
        """
        frame = self._table(model_version).read(model_version)
        if frame.is_empty():
            raise UserError(f"baseline of {model_version}: holds no prompts")
        return Baseline(
            model_version=model_version,
            embedder=frame["embedder"][0],
            prompts=frame["prompt"].to_list(),
            vectors=frame["vector"].to_numpy(),
        )

    def model_versions(self, application: str) -> list[str]:
        """Return the model versions that have a baseline."""
        return VersionedTable(self.root, f"embedding_baseline_{application}").tags()

    def count(self, model_version: str, is_theirs: Callable[[str], bool]) -> int:
        """Return how many prompts of a baseline are somebody's."""
        frame = self._table(model_version).read(model_version)
        return sum(map(is_theirs, frame["prompt"].to_list()))

    def remove(self, application: str, is_theirs: Callable[[str], bool]) -> None:
        """Take somebody's prompts out of the baselines of all model versions, for good."""

        def kept(frame: pl.DataFrame) -> pl.DataFrame:
            gone = [is_theirs(prompt) for prompt in frame["prompt"].to_list()]
            return frame.filter(~pl.Series(gone, dtype=pl.Boolean))

        VersionedTable(self.root, f"embedding_baseline_{application}").rewrite(kept)

    def _table(self, model_version: str) -> VersionedTable:
        return VersionedTable(self.root, f"embedding_baseline_{application_of(model_version)}")


def reference_dates(dates: Iterable[date], *, config: DriftConfig) -> list[date]:
    """Return the days whose traffic is the baseline of a version without a training set.

    Only days that have traffic count, so a start before a holiday does not shorten the reference.
    """
    return sorted(set(dates))[: config.reference_days]


def first_prompts(interactions: pl.DataFrame) -> list[str]:
    """Return the prompts of the reference days that become a baseline: all, or a fair draw."""
    return window(interactions, max_prompts=MAX_BASELINE_PROMPTS)["prompt"].to_list()


def same_weekdays(day: date, dates: Iterable[date], *, config: DriftConfig) -> list[date]:
    """Return the days with traffic in the weeks before that are the same weekday, oldest first."""
    earlier = {day - timedelta(weeks=week) for week in range(1, config.seasonal_weeks + 1)}
    return sorted(earlier.intersection(dates))
