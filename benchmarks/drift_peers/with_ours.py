"""Our detectors that decide, run as a peer is.

`defaults` looks at 5,000 prompts of a window at most, `all_prompts` at all of them; `five_percent`
flags 5 % of unchanged windows, which is what the others are set to.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from measuring import Compare, Fit, Verdict, main


def load() -> Mapping[str, Fit]:
    """Import our package."""
    from llm_assets.drift.baseline import Baseline
    from llm_assets.drift.config import DriftConfig
    from llm_assets.drift.reference import Reference, Sample
    from llm_assets.drift.scores import score_window

    def fit_with(**options: Any) -> Fit:
        config = DriftConfig(**options)

        def fit(baseline: np.ndarray, _: int) -> Compare:
            known = Baseline(
                model_version="benchmark-v0001",
                embedder="benchmark",
                prompts=[""] * len(baseline),
                vectors=baseline,
            )
            reference, rng = Reference(known), np.random.default_rng(0)

            def compare(current: np.ndarray) -> Verdict:
                scores = score_window(
                    Sample(vectors=current[: config.max_prompts]),
                    reference,
                    embedder="benchmark",
                    config=config,
                    rng=rng,
                    detectors=config.detectors,
                ).scores
                rate = min(score.exceedance_rate for score in scores)
                return Verdict(-rate, any(score.is_drifted for score in scores))

            return compare

        return fit

    return {
        "defaults": fit_with(),
        "all_prompts": fit_with(max_prompts=1_000_000),
        "five_percent": fit_with(false_alarms_per_year=0.05 * 365),
    }


if __name__ == "__main__":
    main(load)
