"""From the asset to the weights: Dagster, a cluster, and the real worker on a tiny model."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.resources.cluster import Cluster as ClusterClient
from llm_assets.training.base_model import prepare_hf
from llm_assets.training.job import TrainingResult
from llm_assets.training.kubernetes.config import read_kubernetes_config
from llm_assets.training.kubernetes.runtime import training_runtime
from tests.kubernetes.clients import wait_until
from tests.kubernetes.emulator import Cluster
from tests.resources.training_run import TrainingRun
from tests.training.conftest import small_job

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def tiny_hf(tiny_base_model: BaseModelFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_hf(tiny_base_model, tmp_path_factory.mktemp("models"))


def a_run(folder: Path, tiny_hf: Path, **settings: Any) -> TrainingRun:
    """Return a run whose base model lies where a volume would be."""
    (folder / "base").symlink_to(tiny_hf)
    made = TrainingRun(folder)
    job = small_job(folder, folder / "base", **settings)
    job.write(made.job_file)
    made.configure(poll_seconds=0.2, termination_grace_period_seconds=60)
    return made


def test_a_preempted_training_goes_on_and_finishes_once(
    tmp_path: Path, tiny_hf: Path, cluster: Cluster, background: ThreadPoolExecutor
) -> None:
    compute = {"num_threads": 1, "per_device_train_batch_size": 8, "save_steps": 5}
    run = a_run(tmp_path, tiny_hf, max_steps=60, compute=compute)
    outcome = background.submit(run.materialize)
    wait_until(lambda: any(run.job.work_dir.glob("checkpoints/step-*")), seconds=60)
    (pod,) = cluster.pods()
    cluster.preempt(pod["metadata"]["name"])
    ended = outcome.result()
    assert ended.failure == ""
    assert ended.holding("starting it again, 1 of 5")
    assert ended.holding("step 60/60  loss")
    metrics = TrainingResult.read(run.job.output_dir).metrics
    assert (metrics["num_steps"], metrics["num_attempts"]) == (60, 2)
    wait_until(lambda: not cluster.pods())


def test_two_nodes_train_together(tmp_path: Path, tiny_hf: Path, cluster: Cluster) -> None:
    compute = {"num_nodes": 2, "num_threads": 1, "per_device_train_batch_size": 4}
    run = a_run(tmp_path, tiny_hf, compute=compute)
    runtime = training_runtime(read_kubernetes_config(run.config_file), num_processes=1)
    ClusterClient("default", pause_seconds=0.1, say=print).create(runtime)
    ended = run.materialize()
    assert ended.failure == ""
    assert ended.holding("step 4/4  loss")
    assert TrainingResult.read(run.job.output_dir).metrics["num_steps"] == 4
