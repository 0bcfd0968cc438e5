"""Frouros' MMD, KS, and PSI.

KS and PSI take one dimension, so they are run on each: KS decides with Bonferroni's correction at
5 %, PSI is averaged. MMD and PSI decide nothing by themselves; `mmd_permutation` adds the callback
that makes MMD a test.
"""

from collections.abc import Mapping

import numpy as np
from measuring import Compare, Fit, Verdict, main

_RATE = 0.05


def load() -> Mapping[str, Fit]:
    """Import Frouros and return its detectors."""
    from frouros.callbacks import (  # pyright: ignore[reportMissingImports]
        PermutationTestDistanceBased,
    )
    from frouros.detectors.data_drift import (  # pyright: ignore[reportMissingImports]
        MMD,
        PSI,
        KSTest,
    )

    def fit_mmd(baseline: np.ndarray, _: int) -> Compare:
        detector = MMD()
        detector.fit(X=baseline)
        return lambda current: Verdict(detector.compare(X=current)[0].distance, None)

    def fit_mmd_permutation(baseline: np.ndarray, _: int) -> Compare:
        name = "PermutationTestDistanceBased"
        callback = PermutationTestDistanceBased(num_permutations=100, random_state=0, name=name)
        detector = MMD(callbacks=callback)
        detector.fit(X=baseline)

        def compare(current: np.ndarray) -> Verdict:
            distance, logs = detector.compare(X=current)
            return Verdict(distance.distance, logs[name]["p_value"] <= _RATE)

        return compare

    def fit_ks(baseline: np.ndarray, _: int) -> Compare:
        detectors = []
        for column in baseline.T:
            detectors.append(KSTest())
            detectors[-1].fit(X=column)

        def compare(current: np.ndarray) -> Verdict:
            tests = [
                detector.compare(X=column)[0]
                for detector, column in zip(detectors, current.T, strict=True)
            ]
            is_drifted = min(test.p_value for test in tests) <= _RATE / len(tests)
            return Verdict(max(test.statistic for test in tests), is_drifted)

        return compare

    def fit_psi(baseline: np.ndarray, _: int) -> Compare:
        detectors = []
        for column in baseline.T:
            detectors.append(PSI())
            detectors[-1].fit(X=column)

        def compare(current: np.ndarray) -> Verdict:
            distances = [
                detector.compare(X=column)[0].distance
                for detector, column in zip(detectors, current.T, strict=True)
            ]
            return Verdict(float(np.mean(distances)), None)

        return compare

    return {
        "mmd": fit_mmd,
        "mmd_permutation": fit_mmd_permutation,
        "ks": fit_ks,
        "psi": fit_psi,
    }


if __name__ == "__main__":
    main(load)
