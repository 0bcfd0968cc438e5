from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from llm_assets.applications import load_application
from llm_assets.errors import UserError
from llm_assets.records import first_problem
from llm_assets.training.config import TrainingConfig
from llm_assets.training.sweep.config import SWEPT, SweepConfig, with_hyperparameters
from tests.installations import helpdesk, write_application

SPACE = {"learning_rate": [0.0005, 0.001, 0.002], "r": [8, 16]}


def a_sweep(space: dict[str, list[Any]] | None = None, **settings: Any) -> dict[str, Any]:
    return {"max_steps": 100, "space": SPACE if space is None else space, **settings}


def test_the_configured_hyperparameters_come_first_and_every_trial_is_of_the_space() -> None:
    config = TrainingConfig.of_plain({"r": 4, "sweep": a_sweep(num_trials=5)})
    assert config.sweep is not None
    first, *others = config.sweep.trials(config)
    assert first == {"learning_rate": 0.002, "r": 4}
    assert len(others) == 4
    assert all(trial[key] in SPACE[key] for trial in others for key in SPACE)


def test_a_small_space_has_fewer_trials_than_were_asked_for() -> None:
    config = TrainingConfig.of_plain({"sweep": a_sweep({"r": [8, 16, 16]})})
    assert config.sweep is not None
    assert config.sweep.trials(config) == [{"r": 16}, {"r": 8}]


def test_a_combination_that_breaks_a_rule_between_its_keys_is_not_tried() -> None:
    space = {"neftune_noise_alpha": [0.0, 5.0], "num_top_layers": [None, 4]}
    config = TrainingConfig.of_plain({"num_top_layers": None, "sweep": a_sweep(space)})
    assert config.sweep is not None
    trials = [tuple(trial.values()) for trial in config.sweep.trials(config)]
    assert sorted(trials, key=str) == [(0.0, 4), (0.0, None), (5.0, None)]


def test_a_trial_keeps_what_is_not_swept_and_has_no_sweep_itself() -> None:
    config = TrainingConfig.of_plain({"seed": 3, "sweep": a_sweep()})
    trial = with_hyperparameters(config, {"r": 8})
    assert (trial.r, trial.seed, trial.sweep) == (8, 3, None)


def test_whatever_can_be_swept_is_a_key_of_the_training_section() -> None:
    assert set(TrainingConfig.model_fields) >= SWEPT


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (a_sweep({"learning_rat": [1]}), "training.sweep.space: 'learning_rat' cannot be swept"),
        (a_sweep({"seed": [1]}), "training.sweep.space: 'seed' cannot be swept, only learning_r"),
        (a_sweep({"beta": [1]}), "training.sweep.space: beta is part of the loss by which trials"),
        (a_sweep({"r": []}), "training.sweep.space: r needs at least one value"),
        (a_sweep({}), "training.sweep.space: Dictionary should have at least 1 item"),
        (
            a_sweep({"learning_rate": [0.1, 3.0]}),
            "training: sweep.space.learning_rate: Input should be less than or equal to 1, got 3.0",
        ),
        (
            a_sweep({"learning_rate": ["5e-4"]}),
            "training: sweep.space.learning_rate: Input should be a valid number, got '5e-4'",
        ),
        (a_sweep({"r": [4]}), "training: sweep.space: holds nothing but what is configured"),
        (
            a_sweep({"neftune_noise_alpha": [5.0]}),
            "training: sweep.space.neftune_noise_alpha: neftune_noise_alpha needs num_top_layers",
        ),
        (
            a_sweep(max_steps=15),
            "training.sweep: max_steps must be at least 16, a step for each of 8 trials in 2 rungs",
        ),
        (a_sweep(num_trials=1), "training.sweep.num_trials: Input should be greater than or equal"),
    ],
)
def test_a_bad_sweep_is_refused_in_one_line_that_names_its_file_and_key(
    tmp_path: Path, training: dict[str, Any], message: str
) -> None:
    section = {"r": 4, "num_top_layers": 2, "max_steps": 3, "sweep": training}
    content = helpdesk(Path("tiny.gguf"), training=section)
    path = write_application(tmp_path, "helpdesk", yaml.safe_load(yaml.safe_dump(content)))
    with pytest.raises(UserError) as caught:
        load_application(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"finetuning": "full", "sweep": a_sweep()},
            "sweep.space.r: is of LoRA, and finetuning is 'full'",
        ),
        (
            {"sweep": a_sweep({"train_batch_size": [8]})},
            "sweep.space.train_batch_size: trials take equally many steps: set training.max_steps",
        ),
        (
            {
                "max_steps": 9,
                "compute": {"num_processes": 8},
                "sweep": a_sweep({"train_batch_size": [12]}),
            },
            "sweep.space.train_batch_size: train_batch_size must be a multiple of the 8 processes",
        ),
    ],
)
def test_what_a_training_has_no_use_for_is_not_swept(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        TrainingConfig.of_plain(settings)
    assert first_problem(caught.value).startswith(message)


def test_a_sweep_is_no_part_of_a_configuration_that_does_not_ask_for_it() -> None:
    assert TrainingConfig().sweep is None
    assert SweepConfig.of_plain(a_sweep()).num_trials == 8
