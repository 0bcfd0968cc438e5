import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
import pytest

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.supervisor import ProcessesDied
from llm_assets.training.sweep.result import Sweep
from llm_assets.training.sweep.run import run_sweep
from tests.training.conftest import MakeJob, rows_frame

SWEEP = {
    "num_trials": 4,
    "eta": 2,
    "max_steps": 40,
    "space": {"learning_rate": [0.001, 0.004, 0.008], "num_top_layers": [2]},
}
LOSSES = {0.002: 2.0, 0.001: 3.0, 0.004: 1.0, 0.008: math.inf}


def _loss(config: TrainingConfig) -> float:
    """Return a loss that depends on the learning rate and falls with the steps."""
    loss = LOSSES[config.learning_rate] / config.max_steps
    if math.isinf(loss):
        raise UserError("the loss of step 1 is nan: lower training.learning_rate")
    return loss


@dataclass
class Sweeping:
    """Sweeps a job with a worker that answers at once, and keeps what that was asked."""

    job: TrainingJob
    folder: Path
    loss_of: Callable[[TrainingConfig], float] = _loss
    jobs: list[TrainingJob] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __call__(self) -> Sweep:
        ticks = itertools.count(step=5)
        return run_sweep(
            self.job,
            self.folder / "sweeps" / "tiny-v0002.json",
            dataset_sha256="d1",
            say=self.said.append,
            train=self.train,
            clock=lambda: float(next(ticks)),
        )

    def train(self, job: TrainingJob, job_file: Path) -> TrainingResult:
        assert job_file.parent == job.work_dir
        self.jobs.append(job)
        metrics = {"validation_loss": self.loss_of(job.config), "seconds_of_steps": 1.0}
        return TrainingResult(
            model_version=job.model_version,
            recipe=job.recipe,
            fingerprint="",
            weights_sha256="",
            library_versions={},
            energy_source="",
            metrics=metrics,
        )

    @property
    def trained(self) -> list[str]:
        return [job.work_dir.name for job in self.jobs]


@pytest.fixture
def sweeping(make_job: MakeJob, tmp_path: Path) -> Sweeping:
    return Sweeping(make_job(max_steps=10, sweep=SWEEP), tmp_path)


def test_the_best_trial_of_the_last_rung_wins_and_what_is_configured_is_in_it(
    sweeping: Sweeping,
) -> None:
    sweep = sweeping()
    assert [(rung.num_trials, rung.num_steps) for rung in sweep.rungs] == [(4, 5), (2, 10)]
    assert sweep.best.hyperparameters == {"learning_rate": 0.004, "num_top_layers": 2}
    assert sweep.best.losses == [1 / 5, 1 / 10]
    assert sweep.trials[0].losses == [2 / 5, 2 / 10]
    assert sweep.improvement == pytest.approx(0.1)
    assert sweep.num_validation_rows == 4
    assert sweep.num_steps == 4 * 5 + 2 * 10
    assert sweep.seconds == 6 * 5
    assert Sweep.read(sweeping.folder / "sweeps" / "tiny-v0002.json") == sweep


def test_a_trial_differs_from_the_job_by_its_hyperparameters_and_steps_alone(
    sweeping: Sweeping,
) -> None:
    sweep = sweeping()
    for job, trial in zip(sweeping.jobs, sweep.trials, strict=False):
        plain = sweeping.job.config.model_dump() | trial.hyperparameters
        assert job.config.model_dump() == plain | {"max_steps": 5, "sweep": None}
        assert (job.rows_file, job.system_prompt) == (
            sweeping.job.rows_file,
            sweeping.job.system_prompt,
        )


def test_every_trial_has_a_folder_of_its_own_and_nothing_is_left_of_it(sweeping: Sweeping) -> None:
    sweeping()
    assert len(set(sweeping.trained)) == len(sweeping.trained) == 6
    assert sweeping.trained[0] == "trial-00-rung-1"
    assert sweeping.trained[-1].endswith("-rung-2")
    assert not (sweeping.job.work_dir / "sweep").exists()


def test_a_refused_trial_is_told_with_its_reason_and_does_not_stay(sweeping: Sweeping) -> None:
    sweep = sweeping()
    (refused,) = [trial for trial in sweep.trials if trial.refusal is not None]
    assert refused.hyperparameters["learning_rate"] == 0.008
    assert refused.losses == []
    assert refused.refusal == "the loss of step 1 is nan: lower training.learning_rate"
    assert f"trial-{refused.number:02d}-rung-2" not in sweeping.trained


def test_a_line_a_trial_tells_what_was_tried_what_came_of_it_and_what_is_left(
    sweeping: Sweeping,
) -> None:
    sweeping()
    assert len(sweeping.said) == 6
    assert sweeping.said[0] == (
        "rung 1 of 2, trial 0: learning_rate 0.002, num_top_layers 2: "
        "validation loss 0.4000 after 5 steps, 5 s, about 27 s left for up to 5 more"
    )
    assert (
        sum("cannot be trained: the loss of step 1 is nan" in line for line in sweeping.said) == 1
    )
    assert sweeping.said[-1].endswith("after 10 steps, 5 s")


def test_a_sweep_that_was_interrupted_trains_none_of_its_trials_again(sweeping: Sweeping) -> None:
    whole = sweeping()

    class Killed(BaseException):
        """What a signal makes of a process."""

    sweeping.folder.joinpath("sweeps", "tiny-v0002.json").unlink()
    sweeping.jobs.clear()

    def dies_at_the_third(config: TrainingConfig) -> float:
        if len(sweeping.jobs) == 3:
            raise Killed
        return _loss(config)

    sweeping.loss_of = dies_at_the_third
    with pytest.raises(Killed):
        sweeping()
    before = sweeping.trained[:2]
    sweeping.jobs.clear()
    sweeping.loss_of = _loss
    again = sweeping()
    assert not set(before) & set(sweeping.trained)
    assert len(sweeping.trained) == 4
    assert again == whole


def test_a_finished_sweep_of_the_same_job_is_not_made_again(sweeping: Sweeping) -> None:
    first = sweeping()
    sweeping.jobs.clear()
    assert sweeping() == first
    assert sweeping.jobs == []
    assert sweeping.said[-1] == "tiny-v0002 is swept already"


@pytest.mark.parametrize("change", ["rows", "config"])
def test_other_rows_or_another_configuration_are_swept_anew(
    sweeping: Sweeping, change: str
) -> None:
    sweeping()
    sweeping.jobs.clear()
    if change == "rows":
        rows_frame(num_train=25).write_parquet(sweeping.job.rows_file)
    else:
        plain = sweeping.job.config.model_dump(mode="json") | {"weight_decay": 0.1}
        sweeping.job = replace(sweeping.job, config=TrainingConfig.of_plain(plain))
    sweeping()
    assert len(sweeping.jobs) == 6


def test_a_worker_that_dies_ends_the_sweep_and_its_trial_is_named(sweeping: Sweeping) -> None:
    def die(config: TrainingConfig) -> float:
        raise ProcessesDied("the worker ended with exit code 3: out of memory")

    sweeping.loss_of = die
    with pytest.raises(
        ProcessesDied, match=r"rung 1 of 2, trial 0: learning_rate 0\.002.*: out of"
    ):
        sweeping()
    sweeping.loss_of = _loss
    assert sweeping().best.losses == [1 / 5, 1 / 10]


def test_where_no_trial_can_be_trained_the_reason_is_told_and_another_try_is_free(
    sweeping: Sweeping,
) -> None:
    def refuse(config: TrainingConfig) -> float:
        raise UserError("the tokenizer has no chat template")

    sweeping.loss_of = refuse
    with pytest.raises(UserError, match="no trial of the sweep could be trained: the tokenizer"):
        sweeping()
    sweeping.loss_of = _loss
    assert sweeping().best.losses == [1 / 5, 1 / 10]


def test_rows_without_validation_are_refused_before_anything_is_trained(sweeping: Sweeping) -> None:
    rows_frame(num_validation=0).write_parquet(sweeping.job.rows_file)
    with pytest.raises(UserError, match=r"rows\.parquet: training\.sweep chooses by validation"):
        sweeping()
    assert sweeping.jobs == []


def test_texts_of_pretraining_may_take_the_whole_budget_for_they_are_cut_into_pieces(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(
        method="pretraining",
        texts_file="texts.parquet",
        min_train_rows=1,
        max_steps=-1,
        sweep=SWEEP,
    )
    texts = pl.DataFrame({"text": ["a long book", "another"], "split": ["train", "validation"]})
    texts.write_parquet(job.rows_file)
    sweep = Sweeping(job, tmp_path)()
    assert [rung.num_steps for rung in sweep.rungs] == [5, 10]
