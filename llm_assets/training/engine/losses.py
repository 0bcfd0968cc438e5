"""The losses of preference tuning, of log probabilities of whole answers; one value a row or pair.

Log probabilities are natural and summed over the tokens of an answer unless said otherwise. Those
of the reference are of the model as it was before the training.
"""

import torch
from torch.nn.functional import logsigmoid


def dpo(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float,
) -> torch.Tensor:
    """Return the loss of direct preference optimization, (pairs,).

    Rafailov et al. 2023, Direct Preference Optimization, equation 7.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -logsigmoid(beta * margin)


def kto(
    own: torch.Tensor,
    reference: torch.Tensor,
    is_desirable: torch.Tensor,
    divergence: torch.Tensor,
    *,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> torch.Tensor:
    """Return the loss of Kahneman-Tversky optimization, (rows,).

    `divergence` is how far the model has moved from the reference, at least 0: the mean log ratio
    of answers behind prompts of other rows. Ethayarajh et al. 2024, KTO, equations 6 to 8.
    """
    ratio = own - reference
    desirable = desirable_weight * (1 - torch.sigmoid(beta * (ratio - divergence)))
    undesirable = undesirable_weight * (1 - torch.sigmoid(beta * (divergence - ratio)))
    return torch.where(is_desirable, desirable, undesirable)


def orpo(chosen: torch.Tensor, rejected: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Return the loss of odds ratio preference optimization, (pairs,).

    Log probabilities are means over the tokens of an answer. Hong et al. 2024, ORPO, equation 6;
    `beta` is its lambda.
    """
    log_odds = (chosen - rejected) - (_log_1_minus_exp(chosen) - _log_1_minus_exp(rejected))
    return -chosen - beta * logsigmoid(log_odds)


def _log_1_minus_exp(values: torch.Tensor) -> torch.Tensor:
    """Return log(1 - exp(x)) of negative values without losing digits.

    Maechler 2012, Accurately Computing log(1 - exp(-|a|)), equation 7.
    """
    is_near_zero = values > -0.6931471805599453
    # Each branch is kept where it is used, since the gradient of the other may be infinite.
    near = torch.where(is_near_zero, values, -1.0)
    far = torch.where(is_near_zero, -1.0, values)
    return torch.where(is_near_zero, torch.log(-torch.expm1(near)), torch.log1p(-torch.exp(far)))
