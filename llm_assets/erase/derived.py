"""What was made of the records: datasets, baselines, vectors, rows to train on, evaluations."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from llm_assets.curation.erasure import is_touched, num_touched, without
from llm_assets.curation.store import DatasetStore
from llm_assets.curation.votes import collect_votes
from llm_assets.drift.baseline import BaselineStore
from llm_assets.erasures import Mark, Traces
from llm_assets.errors import UserError
from llm_assets.evaluation import erasure as evaluation
from llm_assets.feedback.erasure import clean_quarantine
from llm_assets.installation import Installation
from llm_assets.manifest import MANIFEST, ModelManifest, application_of
from llm_assets.storage import write_parquet_atomically
from llm_assets.training.work_folder import clear

_TABLE = re.compile(r"(?:curated_dataset|judged_answers|embedding_baseline)_(.+)\.lance")


def marks(home: Installation, traces: Traces, application: str | None) -> dict[str, Mark]:
    """Return the model versions that hold some of the user's data, and how much."""
    found: dict[str, Mark] = {}
    datasets, baselines = DatasetStore(home.lance), BaselineStore(home.lance)
    for name in _applications(home, application):
        for version in datasets.model_versions(name):
            touched = num_touched(datasets.read(version), traces)
            num_holdout = touched.pop("holdout", 0)
            mark = Mark(num_learnt=touched.total(), num_holdout=num_holdout)
            found[version] = mark | found.get(version, Mark())
        for version in baselines.model_versions(name):
            mark = Mark(num_baseline=baselines.count(version, traces.is_theirs))
            found[version] = mark | found.get(version, Mark())
    for version, folder in _folders(home.home / "reports", application):
        mark = Mark(num_samples=evaluation.count_samples(folder, traces.is_theirs))
        found[version] = mark | found.get(version, Mark())
    return {
        version: mark | _whereabouts(home, version)
        for version, mark in sorted(found.items())
        if mark.is_reached
    }


def count(home: Installation, traces: Traces, application: str | None) -> dict[str, int]:
    """Return how many rows of each thing that no model version stands for are the user's."""
    files = _rows_files(home, application)
    learnt = (is_touched(rows, traces).sum() for _, rows in files if rows is not None)
    return {
        "quarantine": _clean_quarantines(home, traces, application, is_dry=True),
        "prompt_embeddings": home.embeddings.count(traces.prompt_keys),
        "training_rows": sum(map(int, learnt)),
    }


def remove(home: Installation, traces: Traces, application: str | None) -> None:
    """Remove the user's data from all of these, for good; the records are clean already."""
    _clean_quarantines(home, traces, application, is_dry=False)
    datasets, baselines = DatasetStore(home.lance), BaselineStore(home.lance)
    for name in _applications(home, application):
        votes = _votes(home, name)

        def change(rows: pl.DataFrame, votes: pl.DataFrame = votes) -> pl.DataFrame:
            return without(rows, traces, votes=votes)

        datasets.rewrite(name, change)
        baselines.remove(name, traces.is_theirs)
        for path, rows in _rows_files(home, name):
            if rows is None:
                path.unlink(missing_ok=True)
            elif is_touched(rows, traces).any():
                write_parquet_atomically(path, change(rows))
                # What a training that was interrupted has made of them.
                for folder in (path.parent, *path.parent.glob("sweep/*")):
                    clear(folder)
    home.embeddings.remove(traces.prompt_keys)
    for version, folder in _folders(home.home / "reports", application):
        targets = None
        if version in datasets.model_versions(application_of(version)):
            targets = datasets.read(version).split("train")["response"].to_list()
        evaluation.remove(folder, traces.is_theirs, training_targets=targets)


def _votes(home: Installation, application: str) -> pl.DataFrame:
    """Return what the records that stay say, for rows that others stand behind too."""
    configured = home.applications().get(application)
    if configured is None:
        # Nobody knows any more how its feedback counted, so shared rows go too.
        return pl.DataFrame(schema={"feedback_id": pl.String})
    interactions, feedback = home.interactions(application), home.feedback(application)
    return collect_votes(interactions, feedback, config=configured.curation)[0]


def _whereabouts(home: Installation, version: str) -> Mark:
    """Return whether a version has a checkpoint, and whether it serves or served."""
    entry = home.registry.entry(application_of(version))
    folder = home.model(version)
    return Mark(
        has_checkpoint=(folder / MANIFEST).exists()
        and ModelManifest.read(folder).adapter_sha256 is not None,
        is_champion=entry.champion == version,
        has_served=any(
            step.model_version == version and step.action != "register" for step in entry.history
        ),
    )


def _applications(home: Installation, application: str | None) -> list[str]:
    """Return the applications that have Lance tables or rows to train on."""
    tables = (_TABLE.fullmatch(folder.name) for folder in home.lance.glob("*.lance"))
    names = {match[1] for match in tables if match}
    names |= {application_of(version) for version, _ in _folders(_workplaces(home), None)}
    return sorted(names if application is None else names & {application})


def _rows_files(
    home: Installation, application: str | None
) -> Iterator[tuple[Path, pl.DataFrame | None]]:
    """Yield what trainings were given; None stands for a file that a crash cut short."""
    for _, folder in _folders(_workplaces(home), application):
        path = folder / "rows.parquet"
        if path.exists():
            try:
                yield path, pl.read_parquet(path)
            except pl.exceptions.ComputeError:
                yield path, None


def _workplaces(home: Installation) -> Path:
    return home.home / "run" / "training"


def _folders(root: Path, application: str | None) -> Iterator[tuple[str, Path]]:
    """Yield the folders that are named by a model version, of one or all applications."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        try:
            name = application_of(folder.name)
        except UserError:
            continue  # not ours
        if application in (None, name):
            yield folder.name, folder


def _clean_quarantines(
    home: Installation, traces: Traces, application: str | None, *, is_dry: bool
) -> int:
    folders = (home.home / "quarantine").glob(f"application={application or '*'}")
    return sum(clean_quarantine(folder, traces, is_dry=is_dry) for folder in folders)
