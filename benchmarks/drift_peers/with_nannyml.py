"""NannyML's PCA reconstruction error with its defaults: 65 % of variance, three deviations.

Its thresholds come from the baseline cut into chunks of the window's size.
"""

import os
from collections.abc import Mapping

import numpy as np
from measuring import Compare, Fit, Verdict, main

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"


def load() -> Mapping[str, Fit]:
    """Import NannyML and return its calculator."""
    import nannyml  # pyright: ignore[reportMissingImports]
    import pandas as pd

    def _frame(vectors: np.ndarray) -> "pd.DataFrame":
        return pd.DataFrame(vectors, columns=[f"d{i}" for i in range(vectors.shape[1])])

    def fit_pca(baseline: np.ndarray, n: int) -> Compare:
        frame = _frame(baseline)
        calculator = nannyml.DataReconstructionDriftCalculator(list(frame.columns), chunk_size=n)
        calculator.fit(frame)

        def compare(current: np.ndarray) -> Verdict:
            row = calculator.calculate(_frame(current)).filter(period="analysis").to_df().iloc[-1]
            error = row["reconstruction_error"]
            # It alarms on both sides, so the distance from the middle is what grows.
            middle = (error["upper_threshold"] + error["lower_threshold"]) / 2
            return Verdict(abs(error["value"] - middle), error["alert"])

        return compare

    return {"pca": fit_pca}


if __name__ == "__main__":
    main(load)
