"""Taking a user's data out of an evaluation: the samples, and the texts in the report.

The numbers stay as they were measured.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import polars as pl

from llm_assets.evaluation.report import REPORT, SAMPLES, EvalReport
from llm_assets.normalise import normalise
from llm_assets.storage import write_parquet_atomically

ERASED = "(erased)"
IsTheirs = Callable[[str], bool]


def count_samples(folder: Path, is_theirs: IsTheirs) -> int:
    """Return how many samples of an evaluation hold a text of the user's."""
    samples = _read(folder / SAMPLES)
    return 0 if samples is None else sum(_are_theirs(samples, is_theirs))


def remove(folder: Path, is_theirs: IsTheirs, *, training_targets: Collection[str] | None) -> None:
    """Take the user's samples away, and their texts out of the report.

    The report names the most frequent training target: it stays if it is one of those that the
    dataset still has, or if that is not known (None).
    """
    path = folder / SAMPLES
    samples = _read(path)
    if samples is None:
        path.unlink(missing_ok=True)
    elif any(gone := _are_theirs(samples, is_theirs)):
        write_parquet_atomically(path, samples.filter(~pl.Series(gone, dtype=pl.Boolean)))
    if (folder / REPORT).exists():
        report = EvalReport.read(folder)
        cleaned = _without_texts(report, is_theirs, training_targets)
        if cleaned != report:
            cleaned.write(folder)


def _without_texts(
    report: EvalReport, is_theirs: IsTheirs, training_targets: Collection[str] | None
) -> EvalReport:
    majority = report.majority_target
    if training_targets is not None and majority not in set(map(normalise, training_targets)):
        majority = ERASED
    targets = [
        replace(score, target=ERASED) if is_theirs(score.target) else score
        for score in report.targets
    ]
    return replace(report, targets=targets, majority_target=majority)


def _are_theirs(samples: pl.DataFrame, is_theirs: IsTheirs) -> list[bool]:
    rows = samples.select("prompt", "target").iter_rows()
    return [is_theirs(prompt) or is_theirs(target) for prompt, target in rows]


def _read(path: Path) -> pl.DataFrame | None:
    """Return the samples, or None where there are none or a crash cut the file short."""
    try:
        return pl.read_parquet(path)
    except (FileNotFoundError, pl.exceptions.ComputeError):
        return None
