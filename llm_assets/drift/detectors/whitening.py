"""Vectors brought into a space in which the widest directions do not drown the others."""

from typing import NamedTuple

import numpy as np


class Whitening(NamedTuple):
    """The matrix that shortens the wide directions, and the variances along each after it.

    Their shapes are (dimensions, dimensions) and (dimensions,); the variances are below 1.
    """

    matrix: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> "Whitening":
        """Fit it on vectors, not all of them the same.

        The ridge is the mean variance of a direction: without it the noise of the narrow ones
        would count as much as the rest.
        """
        centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(vectors.dtype)
        covariance = (centred.T @ centred).astype(np.float64) / (len(vectors) - 1)
        variances, directions = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0)
        ridge = variances.mean()
        assert ridge > 0
        return cls(directions / np.sqrt(variances + ridge), variances / (variances + ridge))
