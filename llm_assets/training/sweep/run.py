"""A whole sweep: from the job of a training to the hyperparameters that it should take."""

import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.training.config import Method, TrainingConfig
from llm_assets.training.job import TrainingJob
from llm_assets.training.progress import duration
from llm_assets.training.rows import read_rows
from llm_assets.training.supervisor import ProcessesDied
from llm_assets.training.sweep.config import with_hyperparameters
from llm_assets.training.sweep.halving import Hyperparameters, Rung, halve, rungs, winner
from llm_assets.training.sweep.result import Sweep, Trial, swept
from llm_assets.training.sweep.trial import Outcome, Train, run_trial, train_quietly


def run_sweep(
    job: TrainingJob,
    file: Path,
    *,
    dataset_sha256: str,
    say: Callable[[str], object],
    train: Train = train_quietly,
    clock: Callable[[], float] = time.monotonic,
) -> Sweep:
    """Find the best hyperparameters of a job by its validation rows, and write them into a file.

    What was trained already, by an attempt that was interrupted, is not trained again, and a file
    of the same sweep is returned as it is.

    Args:
        job: the training to come; its configuration has a sweep.
        file: where the result appears.
        dataset_sha256: the content hash of the dataset that the rows are of.
        say: hears a line a training.
        train: trains one trial.
        clock: gives the seconds that pass.

    Raises:
        UserError: the rows are wrong, there is none for validation, or no trial can be trained.
        ProcessesDied: a worker ended without a result; another try goes on from there.
    """
    config = job.config
    assert config.sweep is not None
    rows = read_rows(job.rows_file, config)
    if not rows.validation:
        raise UserError(
            f"{job.rows_file}: training.sweep chooses by validation rows, and there is none: "
            "raise curation.validation_rate"
        )
    fingerprint = job.fingerprint(rows.sha256)
    if file.exists() and (known := Sweep.read(file)).fingerprint == fingerprint:
        say(f"{job.model_version} is swept already")
        return known
    trials = config.sweep.trials(config)
    planned = rungs(
        len(trials),
        eta=config.sweep.eta,
        max_steps=config.sweep.max_steps,
        most_steps=_most_steps(config, config.sweep.max_steps, num_rows=len(rows.train)),
    )
    folder = job.work_dir / "sweep"
    runner = _Runner(
        job=job,
        trials=trials,
        rungs=planned,
        folder=folder,
        rows_sha256=rows.sha256,
        say=say,
        train=train,
        clock=clock,
    )
    best = winner(halve(planned, runner.loss_of))
    tried = [runner.trial(number) for number in range(len(trials))]
    if best is None:
        # What has no use is not kept: another try may have more luck.
        shutil.rmtree(folder)
        raise UserError(f"no trial of the sweep could be trained: {tried[0].refusal}")
    sweep = Sweep(
        model_version=job.model_version,
        fingerprint=fingerprint,
        dataset_sha256=dataset_sha256,
        config=swept(config),
        num_validation_rows=len(rows.validation),
        rungs=planned,
        trials=tried,
        best=tried[best],
        num_steps=sum(outcome.num_steps for outcome in runner.outcomes.values()),
        seconds=sum(outcome.seconds for outcome in runner.outcomes.values()),
    )
    sweep.write(file)
    shutil.rmtree(folder)
    return sweep


@dataclass(kw_only=True)
class _Runner:
    """Runs the trainings of a sweep and keeps how they ended, by trial and rung."""

    job: TrainingJob
    trials: Sequence[Hyperparameters]
    rungs: Sequence[Rung]
    folder: Path
    rows_sha256: str
    say: Callable[[str], object]
    train: Train
    clock: Callable[[], float]
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)

    def loss_of(self, number: int, rung: int) -> float:
        """Return the loss of a trial after the steps of a rung, infinity if it was refused."""
        num_steps = self.rungs[rung].num_steps
        hyperparameters = {**self.trials[number], "max_steps": num_steps}
        job = replace(self.job, config=with_hyperparameters(self.job.config, hyperparameters))
        name = f"rung {rung + 1} of {len(self.rungs)}, trial {number}: {named(self.trials[number])}"
        try:
            outcome = run_trial(
                job,
                self.folder / f"trial-{number:02d}-rung-{rung + 1}",
                fingerprint=job.fingerprint(self.rows_sha256),
                train=self.train,
                clock=self.clock,
            )
        except ProcessesDied as error:
            raise ProcessesDied(f"{name}: {error}") from error
        self.outcomes[number, rung] = outcome
        found = f"cannot be trained: {outcome.refusal}"
        if outcome.loss is not None:
            found = f"validation loss {outcome.loss:.4f} after {num_steps} steps"
        self.say(f"{name}: {found}, {duration(outcome.seconds)}{self._time_left()}")
        return math.inf if outcome.loss is None else outcome.loss

    def trial(self, number: int) -> Trial:
        """Return what was found of a trial."""
        outcomes = [self.outcomes.get((number, rung)) for rung in range(len(self.rungs))]
        tried = [outcome for outcome in outcomes if outcome is not None]
        return Trial(
            number=number,
            hyperparameters=dict(self.trials[number]),
            losses=[outcome.loss for outcome in tried if outcome.loss is not None],
            refusal=tried[-1].refusal,
        )

    def _time_left(self) -> str:
        left = [rung.num_steps for rung in self.rungs for _ in range(rung.num_trials)]
        left = left[len(self.outcomes) :]
        trained = [outcome for outcome in self.outcomes.values() if outcome.loss is not None]
        if not left or not trained:
            return ""
        # To prepare a training takes as long for few steps as for many.
        before = statistics.fmean(outcome.seconds - outcome.seconds_of_steps for outcome in trained)
        per_step = statistics.fmean(
            outcome.seconds_of_steps / outcome.num_steps for outcome in trained
        )
        seconds = sum(before + per_step * num_steps for num_steps in left)
        return f", about {duration(seconds)} left for up to {len(left)} more"


def _most_steps(config: TrainingConfig, max_steps: int, *, num_rows: int) -> int:
    """Return how many steps the training to come takes.

    How many pieces the texts of pretraining are cut into is not known here, so it is the budget.
    """
    if config.method is Method.PRETRAINING and config.max_steps < 1:
        return max_steps
    return config.num_steps(num_rows)


def named(hyperparameters: Hyperparameters) -> str:
    """Return hyperparameters for people.

    >>> named({"learning_rate": 0.002, "num_top_layers": None})
    'learning_rate 0.002, num_top_layers null'
    """
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in hyperparameters.items())
