"""alibi-detect's KS, MMD, and classifier tests with their defaults: 5 %, 100 permutations.

Its licence (BSL 1.1) allows to measure it; nothing of it is used elsewhere.
"""

from collections.abc import Mapping

import numpy as np
from measuring import Compare, Fit, Verdict, main


def load() -> Mapping[str, Fit]:
    """Import alibi-detect and return its detectors."""
    from alibi_detect.cd import (  # pyright: ignore[reportMissingImports]
        ClassifierDrift,
        KSDrift,
        MMDDrift,
    )
    from sklearn.linear_model import LogisticRegression

    def fit_ks(baseline: np.ndarray, _: int) -> Compare:
        detector = KSDrift(baseline, p_val=0.05)  # one test a dimension, Bonferroni

        def compare(current: np.ndarray) -> Verdict:
            data = detector.predict(current)["data"]
            # p-values of large windows are 0 in many dimensions; the distance orders them still.
            return Verdict(float(np.max(data["distance"])), data["is_drift"])

        return compare

    def fit_mmd(baseline: np.ndarray, _: int) -> Compare:
        detector = MMDDrift(baseline, backend="pytorch", p_val=0.05)

        def compare(current: np.ndarray) -> Verdict:
            data = detector.predict(current)["data"]
            return Verdict(data["distance"], data["is_drift"])

        return compare

    def fit_classifier(baseline: np.ndarray, _: int) -> Compare:
        model = LogisticRegression(max_iter=1000)
        detector = ClassifierDrift(baseline, model, backend="sklearn", p_val=0.05)

        def compare(current: np.ndarray) -> Verdict:
            data = detector.predict(current)["data"]
            return Verdict(data["distance"], data["is_drift"])

        return compare

    return {"ks": fit_ks, "mmd": fit_mmd, "classifier": fit_classifier}


if __name__ == "__main__":
    main(load)
