"""What a sweep tries, and what it may cost."""

from typing import TYPE_CHECKING, Any, Self

import pydantic

from llm_assets.config import Config
from llm_assets.records import first_problem
from llm_assets.training.sweep.halving import Hyperparameters, draw, sizes

if TYPE_CHECKING:
    from llm_assets.training.config import TrainingConfig

_OF_LORA = frozenset({"r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora"})
_OF_THE_LOSS = frozenset({"beta", "desirable_weight", "undesirable_weight"})
SWEPT = _OF_LORA | {
    "learning_rate",
    "max_grad_norm",
    "neftune_noise_alpha",
    "num_top_layers",
    "train_batch_size",
    "warmup_ratio",
    "weight_decay",
}


class SweepConfig(Config):
    """The `training.sweep` section of an application.

    `num_trials` combinations of the values in `space` are tried, the configured one among them.
    After each rung about one of `eta` trials stays. `max_steps` is what all trials together may
    take. A combination that breaks a rule between its keys is not tried.
    """

    num_trials: int = pydantic.Field(default=8, ge=2)
    eta: int = pydantic.Field(default=3, ge=2)
    max_steps: int = pydantic.Field(ge=2)
    space: dict[str, list[Any]] = pydantic.Field(min_length=1)

    @pydantic.field_validator("space")
    @classmethod
    def _can_be_compared(cls, space: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in space.items():
            if key in _OF_THE_LOSS:
                raise ValueError(f"{key} is part of the loss by which trials are compared")
            if key not in SWEPT:
                raise ValueError(f"{key!r} cannot be swept, only {', '.join(sorted(SWEPT))}")
            if not values:
                raise ValueError(f"{key} needs at least one value")
        return space

    @pydantic.model_validator(mode="after")
    def _every_trial_takes_a_step(self) -> Self:
        num_rungs = len(sizes(self.num_trials, eta=self.eta))
        if self.max_steps < num_rungs * self.num_trials:
            raise ValueError(
                f"max_steps must be at least {num_rungs * self.num_trials}, a step for each of "
                f"{self.num_trials} trials in {num_rungs} rungs, got {self.max_steps}"
            )
        return self

    def require_fits(self, training: "TrainingConfig") -> None:
        """Check the space by the rules of the configuration that it varies.

        Raises:
            ValueError: a value breaks a rule, or no combination differs from the configured one.
        """
        for key, values in self.space.items():
            if key in _OF_LORA and training.finetuning == "full":
                raise ValueError(f"sweep.space.{key}: is of LoRA, and finetuning is 'full'")
            if key == "train_batch_size" and training.max_steps < 1:
                # Else the training to come would take fewer steps the larger its batches are.
                raise ValueError(
                    f"sweep.space.{key}: trials take equally many steps: set training.max_steps"
                )
            for value in values:
                try:
                    with_hyperparameters(training, {key: value})
                except pydantic.ValidationError as error:
                    problem = first_problem(error).removeprefix(f"{key}: ")
                    raise ValueError(f"sweep.space.{key}: {problem}") from None
        if len(self.trials(training)) < 2:
            raise ValueError("sweep.space: holds nothing but what is configured")

    def trials(self, training: "TrainingConfig") -> list[Hyperparameters]:
        """Return the hyperparameters of every trial; the first are those that are configured."""

        def is_allowed(trial: Hyperparameters) -> bool:
            try:
                with_hyperparameters(training, trial)
            except pydantic.ValidationError:
                return False
            return True

        return draw(
            {key: getattr(training, key) for key in self.space},
            self.space,
            num_trials=self.num_trials,
            seed=training.seed,
            is_allowed=is_allowed,
        )


def with_hyperparameters(
    training: "TrainingConfig", hyperparameters: Hyperparameters
) -> "TrainingConfig":
    """Return a configuration with other hyperparameters and without a sweep.

    Raises:
        pydantic.ValidationError: they break a rule.
    """
    values = training.model_dump(mode="json", exclude={"sweep"})
    return type(training).of_plain({**values, **hyperparameters})
