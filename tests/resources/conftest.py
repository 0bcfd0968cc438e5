"""A cluster in which a training can run, and an asset that trains there."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob
from tests.kubernetes.emulator import Cluster, emulator
from tests.resources import fake_worker
from tests.resources.training_run import IMAGE, TrainingRun


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with emulator(tmp_path / "cluster", images={IMAGE: {}}) as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig))
        yield running


@pytest.fixture
def run(tmp_path: Path, cluster: Cluster) -> TrainingRun:
    """Return a run whose containers have the fake worker for their Python."""
    python = tmp_path / "cluster" / "programs" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_worker.__file__} "$@"\n')
    python.chmod(0o755)
    made = TrainingRun(tmp_path)
    write_job(tmp_path).write(made.job_file)
    made.configure()
    return made


def write_job(folder: Path, *, num_nodes: int = 1, num_processes: int = 1) -> TrainingJob:
    """Write what a job needs to be read, and return it; only a fake worker can train it."""
    base_model_dir = folder / "base"
    base_model_dir.mkdir(exist_ok=True)
    (base_model_dir / "config.json").write_text("{}")
    pl.DataFrame({"prompt": []}).write_parquet(folder / "rows.parquet")
    compute = {"num_nodes": num_nodes, "num_processes": num_processes}
    return TrainingJob(
        model_version="tiny-v0002",
        base_model_dir=base_model_dir,
        rows_file=folder / "rows.parquet",
        system_prompt=None,
        config=TrainingConfig.of_plain({"train_batch_size": 24, "compute": compute}),
        output_dir=folder / "out",
        work_dir=folder / "work",
    )


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Return what runs a training while a test does something to its pod."""
    with ThreadPoolExecutor(max_workers=2) as executor:
        yield executor
