"""Nearest rows and the centres of cells of like rows; similarities are made in blocks."""

import numpy as np

_CURRENT_ROWS = 1024
_BASELINE_ROWS = 4096
# Closer than that are the same prompts, and rounding tells them apart.
_SAME = 1e-5
_NUM_ROUNDS = 8


def nearest_distances(
    current: np.ndarray, baseline: np.ndarray, *, own_rows: np.ndarray | None = None
) -> np.ndarray:
    """Return the cosine distance of each row of unit length to its nearest in the baseline.

    `own_rows` says which row of the baseline each current one is, and that one is passed over.
    """
    nearest = np.full(len(current), -np.inf, np.float32)
    for top in range(0, len(current), _CURRENT_ROWS):
        rows = slice(top, top + _CURRENT_ROWS)
        for left in range(0, len(baseline), _BASELINE_ROWS):
            similarities = current[rows] @ baseline[left : left + _BASELINE_ROWS].T
            if own_rows is not None:
                own = own_rows[rows] - left
                inside = np.flatnonzero((own >= 0) & (own < similarities.shape[1]))
                similarities[inside, own[inside]] = -np.inf
            np.maximum(nearest[rows], similarities.max(axis=1), out=nearest[rows])
    distances = 1 - nearest
    distances[distances < _SAME] = 0
    return distances


def nearest_centres(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return for each row which of a few centres is nearest by Euclidean distance."""
    lengths = np.einsum("ij,ij->i", centres, centres) / 2
    found = np.empty(len(vectors), np.int64)
    for top in range(0, len(vectors), _BASELINE_ROWS):
        rows = slice(top, top + _BASELINE_ROWS)
        np.argmax(vectors[rows] @ centres.T - lengths, axis=1, out=found[rows])
    return found


def centres_of(rows: np.ndarray, num_cells: int) -> np.ndarray:
    """Return the centres after a few rounds of Lloyd's k-means, shape (cells, dimensions).

    The first rows, which come in random order, are where it starts: on prompts the cells become as
    good as from k-means++, at a tenth of the cost.
    """
    centres = rows[:num_cells]
    for _ in range(_NUM_ROUNDS):
        cells = nearest_centres(rows, centres)
        is_in = (cells == np.arange(num_cells)[:, None]).astype(rows.dtype)
        sizes = is_in.sum(axis=1, keepdims=True)
        # Of prompts that are word for word the same only one starts a cell; the others stay empty.
        centres = np.where(sizes > 0, (is_in @ rows) / np.maximum(sizes, 1), centres)
    return centres
