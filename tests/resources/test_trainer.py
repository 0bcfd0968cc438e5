"""The resource: where it trains, and what a process of this machine tells when it fails."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_assets.resources import trainer
from tests.resources import fake_worker
from tests.resources.conftest import write_job
from tests.resources.training_run import TrainingRun


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """Return a run whose worker is the fake one, as a process of this machine."""
    command = [sys.executable, fake_worker.__file__]
    monkeypatch.setattr(trainer, "worker_command", lambda job_file: [*command, str(job_file)])
    made = TrainingRun(tmp_path)
    write_job(tmp_path).write(made.job_file)
    return made


def test_a_process_trains_and_reports(
    local: TrainingRun, capfd: pytest.CaptureFixture[str]
) -> None:
    local.behave("finish")
    outcome = local.materialize("subprocess")
    assert outcome.failure == ""
    assert outcome.steps == [
        "step 1",
        "step 2",
        "step 3",
    ]
    assert "step 1 begins" in capfd.readouterr().out


def test_a_refusal_is_told_as_the_worker_says_it_and_not_retried(
    local: TrainingRun, capfd: pytest.CaptureFixture[str]
) -> None:
    local.behave("exit 1 error: no rows")
    assert local.materialize("subprocess", max_retries=1).failure == "no rows"
    assert local.num_starts == 1
    assert "error: no rows\n" in capfd.readouterr().err


def test_a_failure_tells_the_last_line_and_may_be_retried(local: TrainingRun) -> None:
    local.behave("exit 3 failed: rank 0 was ended by SIGKILL")
    failure = local.materialize("subprocess").failure
    assert failure == "the worker ended with exit code 3: failed: rank 0 was ended by SIGKILL"
    local.behave("finish")
    assert local.materialize("subprocess", max_retries=1).failure == ""


def test_a_step_that_is_interrupted_lets_the_process_save_a_checkpoint(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path)
    write_job(tmp_path).write(run.job_file)
    run.behave("wait")
    program = (
        "import sys; from pathlib import Path; from llm_assets.resources import trainer;"
        "from tests.resources.training_run import TrainingRun;"
        f"command = [sys.executable, {fake_worker.__file__!r}];"
        "trainer.worker_command = lambda job_file: [*command, str(job_file)];"
        f"sys.exit(TrainingRun(Path({str(tmp_path)!r})).materialize('subprocess').failure or None)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        run.wait_for_step(1)
        process.send_signal(signal.SIGINT)
    pid = int((run.job.work_dir / "starts").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_the_environment_decides_when_a_run_starts(
    local: TrainingRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local.behave("finish")
    monkeypatch.delenv("LLM_ASSETS_TRAINER", raising=False)
    assert local.materialize(None).failure == ""
    monkeypatch.setenv("LLM_ASSETS_TRAINER", "k8s")
    monkeypatch.delenv("LLM_ASSETS_TRAINER_CONFIG", raising=False)
    assert local.materialize(None, max_retries=1).failure == (
        "LLM_ASSETS_TRAINER_CONFIG: must name the file for trainer 'k8s'"
    )
    monkeypatch.setenv("LLM_ASSETS_TRAINER_CONFIG", str(tmp_path / "none.yaml"))
    failure = local.materialize(None).failure
    assert failure.startswith(f"{tmp_path}/none.yaml: cannot be read")
    monkeypatch.setenv("LLM_ASSETS_TRAINER", "slurm")
    assert local.materialize(None).failure == (
        "LLM_ASSETS_TRAINER: must be 'subprocess' or 'k8s', got 'slurm'"
    )


def test_without_a_cluster_it_says_so(
    local: TrainingRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local.configure()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    failure = local.materialize().failure
    assert failure.startswith("no Kubernetes cluster is configured: ")


def test_definitions_load_without_the_client_of_kubernetes() -> None:
    program = "import sys, llm_assets.resources.trainer; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
