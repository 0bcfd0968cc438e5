import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.manifest import ModelManifest
from llm_assets.storage import sha256_of
from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.launch import worker_command
from llm_assets.training.lora import ADAPTER_FILE
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
    assert names == ["adapter_config.json", ADAPTER_FILE, "training.json"]
    result = TrainingResult.read(trained.output_dir)
    assert result.adapter_sha256 == sha256_of(trained.output_dir / ADAPTER_FILE)
    assert result.recipe == trained.recipe
    assert result.library_versions["torch"]
    metrics = result.metrics
    assert metrics["num_train_rows"] == 24
    assert metrics["num_validation_rows"] == 4
    assert metrics["num_answer_tokens_seen"] >= 32 * 2
    assert metrics["train_loss"] < metrics["train_loss_first_step"]
    assert metrics["validation_loss"] < metrics["validation_loss_before"]
    assert not [path for path in trained.output_dir.parent.iterdir() if path.name[0] == "."]


@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.PreviewWarning")
def test_under_dagster_every_step_is_reported_and_other_settings_give_another_adapter(
    trained: TrainingJob, make_job: MakeJob, tmp_path: Path
):
    job = make_job(seed=1, gradient_accumulation_steps=2, lora_dropout=0.1, zero_stage=1)
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
    assert result.adapter_sha256 != TrainingResult.read(trained.output_dir).adapter_sha256


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
        adapter_sha256=result.adapter_sha256,
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


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_state_in_pieces_trains_the_same_adapter(
    trained: TrainingJob, make_job: MakeJob, tmp_path: Path, zero_stage: int
):
    from safetensors.numpy import load_file

    job = make_job(zero_stage=zero_stage)
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "rows.parquet"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_worker_leaves_no_output(
    make_job: MakeJob, tmp_path: Path, number: signal.Signals
):
    job = make_job(max_steps=100_000)
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "rows.parquet"]
