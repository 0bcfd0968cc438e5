import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.sweep.result import best_config
from tests.training.sweep.sweeps import SECTION, a_sweep


def test_a_training_takes_the_best_hyperparameters_of_its_sweep(tmp_path: Path) -> None:
    config = TrainingConfig.of_plain({"seed": 3, "sweep": SECTION})
    a_sweep(config).write(tmp_path / "sweep.json")
    best = best_config(config, tmp_path / "sweep.json", "d1")
    expected = config.model_dump() | {"learning_rate": 0.004, "r": 8, "sweep": None}
    assert best.model_dump() == expected


def test_a_training_without_a_sweep_takes_what_is_configured(tmp_path: Path) -> None:
    config = TrainingConfig()
    assert best_config(config, tmp_path / "no.json", "d1") is config


def test_another_machine_takes_the_sweep_as_it_is(tmp_path: Path) -> None:
    config = TrainingConfig.of_plain({"sweep": SECTION})
    a_sweep(config).write(tmp_path / "sweep.json")
    other = TrainingConfig.of_plain({"sweep": SECTION, "compute": {"num_processes": 2}})
    best = best_config(other, tmp_path / "sweep.json", "d1")
    assert (best.r, best.compute.num_processes) == (8, 2)


@pytest.mark.parametrize(
    ("settings", "dataset", "message"),
    [
        ({}, "d2", "was made with the dataset d1, got d2: materialize hyperparameter_sweep again"),
        ({"seed": 9}, "d1", "was made for another training section: materialize"),
    ],
)
def test_a_sweep_of_something_else_is_refused(
    tmp_path: Path, settings: dict[str, Any], dataset: str, message: str
) -> None:
    file = tmp_path / "sweep.json"
    a_sweep(TrainingConfig.of_plain({"sweep": SECTION})).write(file)
    config = TrainingConfig.of_plain({"sweep": SECTION, **settings})
    with pytest.raises(UserError) as caught:
        best_config(config, file, dataset)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_sweep_that_was_asked_for_and_not_made_is_missed(tmp_path: Path) -> None:
    config = TrainingConfig.of_plain({"sweep": SECTION})
    with pytest.raises(UserError, match="no such sweep: materialize hyperparameter_sweep first"):
        best_config(config, tmp_path / "sweep.json", "d1")


def test_the_improvement_is_taken_in_the_last_rung_of_the_winner() -> None:
    assert a_sweep().improvement == pytest.approx(0.5)


def test_without_a_loss_of_what_is_configured_the_improvement_is_not_known() -> None:
    sweep = a_sweep()
    first = replace(sweep.trials[0], losses=[], refusal="the loss of step 1 is nan")
    assert math.isnan(replace(sweep, trials=[first, *sweep.trials[1:]]).improvement)


def test_the_hash_is_of_the_content_whatever_time_it_took() -> None:
    sweep = a_sweep()
    assert replace(sweep, seconds=99.0).sha256 == sweep.sha256
    assert replace(sweep, num_steps=99).sha256 != sweep.sha256
