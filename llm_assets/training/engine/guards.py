"""What no training may end with: errors that say what to do, instead of weights that are no use."""

import math

from llm_assets.errors import UserError

# A loss that moved by less than this part of itself has not moved.
_MIN_MOVEMENT = 1e-4


def require_finite(loss: float, *, step: int) -> None:
    """Refuse a loss that is not a number.

    Raises:
        UserError: it is not, because the learning rate is too high.
    """
    if not math.isfinite(loss):
        raise UserError(f"the loss of step {step} is {loss}: lower training.learning_rate")


def require_movement(before: float, after: float) -> None:
    """Refuse a training after which the same rows have the same loss.

    Raises:
        UserError: they have.
    """
    if not math.isfinite(after):
        raise UserError(f"the loss is {after} after the training: lower training.learning_rate")
    if abs(after - before) <= _MIN_MOVEMENT * abs(before):
        raise UserError(
            f"the loss has not moved: {before:.6g} before the training, {after:.6g} after it: "
            "raise training.learning_rate or take more steps"
        )
