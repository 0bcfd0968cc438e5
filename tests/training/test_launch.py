from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.training.compute import ComputeConfig
from llm_assets.training.launch import run_worker, worker_environment
from tests.training.conftest import MakeJob


def test_the_threads_of_the_config_reach_the_environment():
    environment = worker_environment(ComputeConfig(num_threads=3))
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["DS_ACCELERATOR"] == "cpu"


def test_a_failed_worker_is_an_error_that_names_the_version(
    make_job: MakeJob, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    job = make_job(min_train_rows=100)
    with pytest.raises(UserError, match="training of tiny-v0002 failed with exit code 1"):
        run_worker(job, tmp_path / "job.json")
    assert "at least 100 are needed" in capfd.readouterr().err
