"""Which rows go into which step of a training."""

import itertools
import random
from collections.abc import Iterator

from llm_assets.training.config import TrainingConfig


def epoch(num_rows: int, *, batch_size: int, rng: random.Random) -> list[list[int]]:
    """Return one pass over the rows in random order, as batches of row numbers.

    Every row comes exactly once and only the last batch may be short.
    """
    order = list(range(num_rows))
    rng.shuffle(order)
    return [order[start : start + batch_size] for start in range(0, num_rows, batch_size)]


def plan(num_rows: int, config: TrainingConfig) -> list[list[list[int]]]:
    """Return the micro-batches of every step of a training, a list a step.

    Epochs follow one another without a seam, each in an order of its own, until the
    steps are full. The seed alone decides the order.
    """
    endless = _epochs(num_rows, config)
    return [
        list(itertools.islice(endless, config.gradient_accumulation_steps))
        for _ in range(config.num_steps(num_rows))
    ]


def _epochs(num_rows: int, config: TrainingConfig) -> Iterator[list[int]]:
    rng = random.Random(config.seed)
    while True:
        yield from epoch(num_rows, batch_size=config.per_device_train_batch_size, rng=rng)
