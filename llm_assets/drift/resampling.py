"""Means of resampled windows, in little memory."""

from collections.abc import Iterator

import numpy as np

_CHUNK_CELLS = 2**22


def resampled_means(
    vectors: np.ndarray, *, num_draws: int, num_samples: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the means of `num_samples` samples of `num_draws` rows drawn with replacement.

    They come in chunks of shape (samples, dimensions). A sample is a row of counts, so a chunk of
    means is one matrix product, whose cost does not grow with `num_draws`.
    """
    size = len(vectors)
    rows = max(1, min(num_samples, _CHUNK_CELLS // max(size, num_draws)))
    for start in range(0, num_samples, rows):
        num = min(rows, num_samples - start)
        draws = rng.integers(0, size, (num, num_draws)) + np.arange(num)[:, None] * size
        counts = np.bincount(draws.ravel(), minlength=num * size).reshape(num, size)
        yield (counts.astype(np.float32) / np.float32(num_draws)) @ vectors
