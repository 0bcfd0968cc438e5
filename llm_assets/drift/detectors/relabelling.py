"""Windows that chance would have brought: the texts of both sides, dealt out again.

If a day asks what its reference asks, nothing tells today's texts from the others, and any n of
them could have been the day. So the null deals the pooled texts out again without replacement,
and that is exact at every n, for the finite reference too (Lehmann and Romano, "Testing
Statistical Hypotheses", 2022, chapter 17). It takes for granted that texts come one by one: a
user who pastes the same prompt a hundred times is a hundred texts.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

# So many of the windows dealt out lie beyond the threshold; it stays within reach of memory.
_NUM_BEYOND_THRESHOLD = 10
_MIN_WINDOWS = 200
_MAX_WINDOWS = 4000
_CHUNK_WINDOWS = 128


def relabelled(
    num_current: int,
    num_reference: int,
    *,
    false_alarm_rate: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return which of the pooled texts are the day's, shape (1 + windows, texts), of 0 and 1.

    The day's own texts come first in the pool. Row 0 is the day as it was and the others are
    chance's, so that one piece of code computes the score and its null and ties stay ties.
    """
    num_texts = num_current + num_reference
    wanted = math.ceil(_NUM_BEYOND_THRESHOLD / false_alarm_rate)
    num_windows = min(max(wanted, _MIN_WINDOWS), _MAX_WINDOWS)
    # Dealing out the smaller side is cheaper, and says the same.
    is_current_smaller = num_current <= num_reference
    labels = np.full((1 + num_windows, num_texts), 0 if is_current_smaller else 1, np.uint8)
    labels[0, :num_current] = 1
    labels[0, num_current:] = 0
    for window in labels[1:]:
        dealt = rng.choice(num_texts, min(num_current, num_reference), replace=False, shuffle=False)
        window[dealt] = 1 if is_current_smaller else 0
    return labels


def sums(features: "sparse.csr_array | np.ndarray", labels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the sums of the features over the texts of each window, in chunks of windows.

    The features have the shape (texts, features) and a chunk (features, windows). Counts are
    exact; other numbers should be float64.
    """
    for start in range(0, len(labels), _CHUNK_WINDOWS):
        chunk = labels[start : start + _CHUNK_WINDOWS].T.astype(np.float32, order="C")
        yield (features.T @ chunk).astype(np.float64)
