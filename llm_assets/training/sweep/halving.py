"""Successive halving: many trials get few steps, the best of them get more.

Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter Optimization.
Their rungs share the budget equally, and so do these. Two things differ.

Theirs go on with a trial where the rung before stopped it. Here each is trained from the start:
the learning rate falls to 0 at the last step, so a trial that goes on would have learnt on half a
schedule, and its loss would tell little of the training that is to come.

The first trial, what is configured, stays to the last rung while it can be trained, so the winner
is never worse than it after equally many steps.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Hyperparameters = Mapping[str, Any]

CONFIGURED = 0


@dataclass(frozen=True)
class Rung:
    """A round of a sweep: how many trials it has at most, and the steps of each."""

    num_trials: int
    num_steps: int


def sizes(num_trials: int, *, eta: int) -> list[int]:
    """Return how many trials each rung has; one alone would decide nothing, so none has one.

    >>> sizes(27, eta=3), sizes(8, eta=3), sizes(2, eta=3)
    ([27, 9, 3], [8, 3], [2])
    """
    found = [num_trials]
    while (following := -(-found[-1] // eta)) > 1:
        found.append(following)
    return found


def rungs(num_trials: int, *, eta: int, max_steps: int, most_steps: int) -> list[Rung]:
    """Return the rungs, which together take `max_steps` at most.

    No trial takes more than `most_steps`, those of the training to come. A rung whose trials would
    take no more steps than those before is left out: it would find the same again.

    >>> rungs(8, eta=3, max_steps=200, most_steps=31)
    [Rung(num_trials=8, num_steps=12), Rung(num_trials=3, num_steps=31)]
    """
    found: list[Rung] = []
    numbers = sizes(num_trials, eta=eta)
    for number in numbers:
        num_steps = min(max_steps // len(numbers) // number, most_steps)
        if found and num_steps <= found[-1].num_steps:
            break
        found.append(Rung(number, num_steps))
    return found


def draw(
    configured: Hyperparameters,
    space: Mapping[str, Sequence[Any]],
    *,
    num_trials: int,
    seed: int,
    is_allowed: Callable[[Hyperparameters], bool],
) -> list[Hyperparameters]:
    """Return what is configured and other combinations of a space, none twice.

    There are fewer than `num_trials` where the space has no more.
    """
    trials = [configured]
    size = math.prod(map(len, space.values()))
    for number in _shuffled(size, random.Random(seed)):
        if len(trials) == num_trials:
            break
        trial = _combination(space, number)
        if trial not in trials and is_allowed(trial):
            trials.append(trial)
    return trials


def halve(rungs: Sequence[Rung], loss_of: Callable[[int, int], float]) -> list[dict[int, float]]:
    """Return the losses of every rung by the number of the trial.

    `loss_of` is given a trial and a rung, counted from 0; infinity is of a trial that cannot be
    trained, and it does not stay. There are fewer rungs where one trial alone is left.
    """
    trials: Sequence[int] = range(rungs[0].num_trials)
    seen = [{trial: loss_of(trial, 0) for trial in trials}]
    for number, rung in enumerate(rungs[1:], start=1):
        trials = staying(seen[-1], number=rung.num_trials)
        if len(trials) < 2:
            break
        seen.append({trial: loss_of(trial, number) for trial in trials})
    return seen


def staying(losses: Mapping[int, float], *, number: int) -> list[int]:
    """Return the trials that stay: what is configured, and those of the lowest losses.

    >>> staying({0: 3.0, 1: 2.0, 2: 1.0, 3: math.inf}, number=2)
    [0, 2]
    """
    trained = [trial for trial, loss in losses.items() if math.isfinite(loss)]
    return sorted(sorted(trained, key=lambda t: (t != CONFIGURED, losses[t], t))[:number])


def winner(seen: Sequence[Mapping[int, float]]) -> int | None:
    """Return the trial of the lowest loss in the last rung in which any could be trained.

    Of equals it is the first, so nothing else is taken for no better than what is configured. None
    is returned if no trial could be trained.
    """
    for losses in reversed(seen):
        best = min(losses, key=lambda trial: (losses[trial], trial))
        if math.isfinite(losses[best]):
            return best
    return None


def _shuffled(size: int, rng: random.Random) -> Iterator[int]:
    """Yield the numbers below a size in a random order, without a list of them all."""
    moved: dict[int, int] = {}
    for last in range(size - 1, -1, -1):
        place = rng.randint(0, last)
        yield moved.get(place, place)
        moved[place] = moved.get(last, last)


def _combination(space: Mapping[str, Sequence[Any]], number: int) -> dict[str, Any]:
    chosen = {}
    for key, values in space.items():
        number, place = divmod(number, len(values))
        chosen[key] = values[place]
    return chosen
