"""Whole trainings of every kind, one after another in one process that has loaded PyTorch once."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from llm_assets.training.job import TrainingJob, TrainingResult, read_history
from tests.training.conftest import preference_frame, small_job

_RUNNER = """
import sys
from pathlib import Path
from llm_assets.errors import UserError
from llm_assets.training.compute import ComputeConfig
from llm_assets.training.job import TrainingJob
from llm_assets.training.launch import worker_environment
from llm_assets.training.processes import Rank
from llm_assets.training.progress import open_reporter
import os
os.environ.update(worker_environment(ComputeConfig(num_threads=1)))
from llm_assets.training.engine.run import run
rank = Rank(rank=0, local_rank=0, world_size=1, rendezvous="none")
os.environ.update(rank.environment())
for file in sys.argv[1:]:
    with open_reporter() as reporter:
        try:
            run(TrainingJob.read(Path(file)), rank, reporter)
        except UserError as error:
            Path(file).with_suffix(".error").write_text(str(error))
"""

_ONE_THREAD = {"num_threads": 1, "per_device_train_batch_size": 8}
_STEEP = {"learning_rate": 0.1, "warmup_ratio": 0.0}

_SETTINGS: Mapping[str, dict[str, Any]] = {
    "sft": {},
    "full": {"finetuning": "full", "num_top_layers": None},
    "dora": {"use_dora": True, "use_rslora": True},
    "bf16": {"compute": {**_ONE_THREAD, "bf16": True}},
    "zero-3": {"compute": {**_ONE_THREAD, "zero_stage": 3}},
    "small batches": {"compute": {"num_threads": 1, "per_device_train_batch_size": 3}},
    "noise": {"num_top_layers": None, "neftune_noise_alpha": 5.0},
    "dpo": {"method": "dpo", "max_steps": 8, "beta": 0.5},
    "kto": {"method": "kto", "max_steps": 8, "beta": 0.5},
    "orpo": {"method": "orpo", "max_steps": 8, "beta": 0.5},
    "pretraining": {"method": "pretraining", "texts_file": "texts.ndjson"},
    "replay": {"replay_rate": 0.25},
    "early": {"max_steps": 200, "eval_steps": 2, "early_stopping_patience": 2, **_STEEP},
    "still": {"learning_rate": 1e-12},
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, tiny_hf: Path) -> dict[str, TrainingJob]:
    """Return the jobs, trained."""
    jobs = {}
    for name, settings in _SETTINGS.items():
        folder = tmp_path_factory.mktemp(name)
        job = small_job(folder, tiny_hf, **settings, **_replay(name, folder))
        job.work_dir.mkdir()
        job.write(folder / "job.json")
        if name in ("dpo", "kto", "orpo"):
            preference_frame().write_parquet(job.rows_file)
        if name == "pretraining":
            _texts().write_parquet(job.rows_file)
        jobs[name] = job
    files = [str(job.rows_file.with_name("job.json")) for job in jobs.values()]
    subprocess.run([sys.executable, "-c", _RUNNER, *files], check=True)
    return jobs


def _replay(name: str, folder: Path) -> dict[str, str]:
    if name != "replay":
        return {}
    path = folder / "replay.ndjson"
    path.write_text(json.dumps({"prompt": "hello", "response": "hi " * 40}))
    return {"replay_file": str(path)}


def _texts() -> pl.DataFrame:
    splits = ["train"] * 24 + ["validation"] * 4
    texts = [f"This is text number {number} of some." for number in range(len(splits))]
    return pl.DataFrame({"text": texts, "split": splits})


@pytest.mark.parametrize(
    "name", ["sft", "full", "dora", "bf16", "noise", "pretraining", "replay", "orpo"]
)
def test_every_way_to_train_lowers_the_loss_of_rows_that_it_did_not_see(
    jobs: dict[str, TrainingJob], name: str
):
    metrics = TrainingResult.read(jobs[name].output_dir).metrics
    assert metrics["validation_loss"] < metrics["validation_loss_before"]


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_preferences_are_learnt(jobs: dict[str, TrainingJob], name: str):
    metrics = TrainingResult.read(jobs[name].output_dir).metrics
    assert metrics["train_loss"] < metrics["train_loss_first_step"] - 0.01


@pytest.mark.parametrize("name", ["zero-3", "small batches"])
def test_whatever_it_is_computed_with_the_same_adapter_is_trained(
    jobs: dict[str, TrainingJob], name: str
):
    from safetensors.numpy import load_file

    from llm_assets.training.engine.trained import ADAPTER_FILE

    expected = load_file(jobs["sft"].output_dir / ADAPTER_FILE)
    found = load_file(jobs[name].output_dir / ADAPTER_FILE)
    assert found.keys() == expected.keys()
    for tensor, weights in expected.items():
        assert found[tensor] == pytest.approx(weights, abs=1e-5)


def test_replayed_rows_are_counted_apart_and_learnt(jobs: dict[str, TrainingJob]):
    metrics, without = (TrainingResult.read(jobs[n].output_dir).metrics for n in ("replay", "sft"))
    assert (metrics["num_train_rows"], metrics["num_replay_rows"]) == (24, 1)
    # Two of eight rows in each of four steps, and the replayed one is long.
    num_replayed = 2 * 4
    assert metrics["num_answer_tokens_seen"] > num_replayed * 40
    assert without["num_answer_tokens_seen"] < num_replayed * 40


def test_a_training_that_stalls_ends_early_with_its_best_weights(jobs: dict[str, TrainingJob]):
    history = read_history(jobs["early"].output_dir)
    losses = [r.validation_loss for r in history if r.validation_loss is not None]
    assert len(history) < 200
    assert losses[-3] == min(losses)
    metrics = TrainingResult.read(jobs["early"].output_dir).metrics
    assert metrics["validation_loss"] == pytest.approx(min(losses), abs=1e-5)


def test_a_loss_that_never_moves_is_refused(jobs: dict[str, TrainingJob]):
    job = jobs["still"]
    error = job.rows_file.with_name("job.error").read_text()
    assert error.startswith("the loss has not moved")
    assert not job.output_dir.exists()


def test_what_frozen_layers_made_is_taken_away_at_the_end(jobs: dict[str, TrainingJob]):
    for name, job in jobs.items():
        if name != "still":
            assert list(job.work_dir.iterdir()) == [], name
