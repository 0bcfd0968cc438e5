"""Evidently's drift of embeddings: its model, mmd, and ratio methods, as they come.

A method is a function of two frames. The metric's default is the model method, with its bootstrap
where there are fewer than 1,000 rows.
"""

from collections.abc import Mapping

import numpy as np
from measuring import Compare, Fit, Verdict, main


def load() -> Mapping[str, Fit]:
    """Import Evidently and return its methods."""
    import pandas as pd
    from evidently.legacy.metrics.data_drift import (  # pyright: ignore[reportMissingImports]
        embedding_drift_methods as methods,
    )

    def fit_with(method: "methods.DriftMethod") -> Fit:
        def fit(baseline: np.ndarray, _: int) -> Compare:
            def compare(current: np.ndarray) -> Verdict:
                # The model method adds a column to what it is given.
                score, is_drifted, _ = method(_frame(current), _frame(baseline))
                return Verdict(score, is_drifted)

            return compare

        return fit

    def _frame(vectors: np.ndarray) -> "pd.DataFrame":
        return pd.DataFrame(vectors, columns=[f"d{i}" for i in range(vectors.shape[1])])

    return {
        "model": fit_with(methods.model()),
        "mmd": fit_with(methods.mmd()),
        "ratio": fit_with(methods.ratio()),
        "distance": fit_with(methods.distance()),
    }


if __name__ == "__main__":
    main(load)
