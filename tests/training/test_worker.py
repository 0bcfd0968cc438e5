import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.manifest import ModelManifest
from llm_assets.storage import sha256_of
from llm_assets.training.engine.trained import ADAPTER_FILE
from llm_assets.training.job import TrainingJob, TrainingResult, read_history
from llm_assets.training.launch import worker_command
from llm_assets.training.reproduce import reproduce
from tests.training.conftest import MakeJob, small_job


def _run_worker(job: TrainingJob, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    job_file = path / "job.json"
    job.write(job_file)
    environment = {**os.environ, **variables}
    return subprocess.run(
        worker_command(job_file), capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_hf: Path) -> TrainingJob:
    """Return a finished job, trained where there is no compiler and no other program."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "bin").mkdir()
    job = small_job(folder, tiny_hf)
    finished = _run_worker(job, folder, PATH=str(folder / "bin"))
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert "step 4/4  loss" in finished.stdout
    return job


def test_the_output_is_an_adapter_and_its_numbers(trained: TrainingJob):
    names = sorted(path.name for path in trained.output_dir.iterdir())
    assert names == ["adapter_config.json", ADAPTER_FILE, "history.json", "training.json"]
    result = TrainingResult.read(trained.output_dir)
    assert result.weights_sha256 == sha256_of(trained.output_dir / ADAPTER_FILE)
    assert result.recipe == trained.recipe
    assert result.library_versions["torch"]
    metrics = result.metrics
    assert metrics["num_train_rows"] == 24
    assert metrics["num_validation_rows"] == 4
    assert metrics["num_answer_tokens_seen"] >= 32 * 2
    assert metrics["train_loss"] < metrics["train_loss_first_step"]
    assert metrics["validation_loss"] < metrics["validation_loss_before"]
    assert metrics["num_tokens_seen"] > metrics["num_answer_tokens_seen"]
    assert metrics["energy_watt_hours"] > 0
    assert result.energy_source
    assert [report.step for report in read_history(trained.output_dir)] == [1, 2, 3, 4]
    assert not [path for path in trained.output_dir.parent.iterdir() if path.name[0] == "."]
    assert [path.name for path in trained.work_dir.iterdir()] == ["lock"]


def test_what_is_trained_already_is_not_trained_again(trained: TrainingJob, tmp_path: Path):
    before = (trained.output_dir / ADAPTER_FILE).stat()
    finished = _run_worker(trained, tmp_path)
    assert finished.returncode == 0
    assert "tiny-v0002 is trained already" in finished.stdout
    assert "step 1/" not in finished.stdout
    assert (trained.output_dir / ADAPTER_FILE).stat() == before


def test_a_version_with_a_manifest_is_not_replaced(trained: TrainingJob, tmp_path: Path):
    job = replace(trained, output_dir=tmp_path / "adapter", work_dir=tmp_path / "work")
    shutil.copytree(trained.output_dir, job.output_dir)
    (job.output_dir / "manifest.json").write_text("{}")
    finished = _run_worker(job, tmp_path)
    assert finished.returncode == 1
    assert "exists, and what was trained is not replaced" in finished.stderr


@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.PreviewWarning")
def test_under_dagster_every_step_is_reported_and_other_settings_give_another_adapter(
    trained: TrainingJob, make_job: MakeJob, tmp_path: Path
):
    job = make_job(
        seed=1,
        lora_dropout=0.1,
        compute={"num_threads": 1, "per_device_train_batch_size": 3, "zero_stage": 1},
    )
    job.write(tmp_path / "job.json")
    messages: list[Any] = []

    @dg.op
    def train(context: dg.OpExecutionContext) -> None:
        client = dg.PipesSubprocessClient()
        command = worker_command(tmp_path / "job.json")
        messages.extend(client.run(context=context, command=command).get_custom_messages())

    @dg.job
    def training() -> None:
        train()

    assert training.execute_in_process().success
    assert [message["step"]["step"] for message in messages[:-1]] == [1, 2, 3, 4]
    result = TrainingResult.read(job.output_dir)
    assert messages[-1]["metrics"] == result.metrics
    assert result.weights_sha256 != TrainingResult.read(trained.output_dir).weights_sha256


def test_the_manifest_alone_makes_the_same_adapter_again(
    trained: TrainingJob, tiny_base_model: BaseModelFile, model_cache: Path
):
    result = TrainingResult.read(trained.output_dir)
    manifest = ModelManifest(
        model_version=trained.model_version,
        application="tiny",
        base_model_sha256=tiny_base_model.sha256,
        created_at="2026-11-20T00:00:00Z",  # pyright: ignore[reportArgumentType] - as in a file
        code_version="1",
        dataset_sha256="d1",
        training=result.recipe,
        adapter_sha256=result.weights_sha256,
        library_versions=result.library_versions,
    )
    reproduction = reproduce(
        manifest,
        base=tiny_base_model,
        cache=model_cache,
        rows_file=trained.rows_file,
        dataset_sha256="d1",
    )
    assert reproduction.is_equal
    assert reproduction.changed_libraries == {}


@pytest.mark.parametrize(
    "compute",
    [
        pytest.param({"zero_stage": 1, "offload_optimizer": True}, marks=pytest.mark.chaos),
        pytest.param({"zero_stage": 2, "max_states_gb": 0.0}, marks=pytest.mark.chaos),
        {"zero_stage": 3, "gradient_checkpointing": True},
    ],
    ids=str,
)
def test_two_processes_train_the_same_adapter_with_every_stage_of_zero(
    trained: TrainingJob, make_job: MakeJob, tmp_path: Path, compute: dict[str, Any]
):
    from safetensors.numpy import load_file

    settings = {"num_threads": 1, "num_processes": 2, "per_device_train_batch_size": 3}
    job = make_job(compute={**settings, **compute})
    finished = _run_worker(job, tmp_path)
    assert finished.returncode == 0, finished.stderr
    expected = load_file(trained.output_dir / ADAPTER_FILE)
    found = load_file(job.output_dir / ADAPTER_FILE)
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        assert found[name] == pytest.approx(weights, abs=1e-5)


def test_a_bad_job_ends_in_one_line_and_leaves_nothing(make_job: MakeJob, tmp_path: Path):
    job = make_job(min_train_rows=100)
    finished = _run_worker(job, tmp_path)
    assert finished.returncode == 1
    assert finished.stderr == (
        f"error: {job.rows_file}: 24 train rows, at least 100 are needed "
        "(training.min_train_rows)\n"
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["job.json", "rows.parquet", "work"]


@pytest.mark.parametrize(("number", "num_processes"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_a_worker_that_is_told_to_stop_leaves_a_checkpoint_and_no_output(
    make_job: MakeJob, tmp_path: Path, number: signal.Signals, num_processes: int
):
    job = make_job(max_steps=100_000, compute={"num_threads": 1, "num_processes": num_processes})
    job.write(tmp_path / "job.json")
    command = worker_command(tmp_path / "job.json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        next(line for line in worker.stdout if line.startswith(b"step 1/"))
        worker.send_signal(number)
        worker.stdout.read()
        errors = worker.stderr.read()
    assert worker.returncode == 128 + number
    assert errors == b""
    assert not job.output_dir.exists()
    assert len(list(job.work_dir.glob("checkpoints/step-*"))) == 1
