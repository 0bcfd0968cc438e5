"""Which rows go into which step of a training, and which of them each process computes."""

import itertools
import random
from collections.abc import Iterator, Sequence

from llm_assets.training.config import TrainingConfig


def plan(num_train: int, config: TrainingConfig, *, num_replay: int = 0) -> list[list[int]]:
    """Return the numbers of the rows of every step.

    Epochs follow one another without a seam, each in an order of its own, until the steps are
    full, so every step has its whole batch. Behind the train rows come those that are replayed, of
    which each step takes its `replay_rate`. The seed alone decides the order, so a training can go
    on anywhere, with any number of processes.
    """
    num_replayed = round(config.replay_rate * config.train_batch_size) if num_replay else 0
    learnt = _endless(range(num_train), random.Random(config.seed))
    replayed = _endless(range(num_train, num_train + num_replay), random.Random(config.seed + 1))
    return [
        [
            *itertools.islice(learnt, config.train_batch_size - num_replayed),
            *itertools.islice(replayed, num_replayed),
        ]
        for _ in range(config.num_steps(num_train))
    ]


def share(
    batch: Sequence[int], *, rank: int, world_size: int, micro_batch_size: int
) -> list[list[int]]:
    """Return the micro-batches that one of several processes computes of a step.

    Every process has the same number of them, and their sizes differ by one row at most.

    >>> share(range(8), rank=1, world_size=2, micro_batch_size=3)
    [[1, 3], [5, 7]]
    """
    assert len(batch) % world_size == 0
    own = list(batch[rank::world_size])
    number = num_micro_batches(len(batch), world_size=world_size, micro_batch_size=micro_batch_size)
    ends = [round(len(own) * part / number) for part in range(number + 1)]
    return [own[begin:end] for begin, end in itertools.pairwise(ends)]


def num_micro_batches(batch_size: int, *, world_size: int, micro_batch_size: int) -> int:
    """Return in how many pieces a process computes its share of a step."""
    return -(-batch_size // (world_size * micro_batch_size))


def _endless(rows: Sequence[int], rng: random.Random) -> Iterator[int]:
    while True:
        order = list(rows)
        rng.shuffle(order)
        yield from order
