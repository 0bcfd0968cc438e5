"""What a sweep has found, for tests that need no training for it."""

from llm_assets.training.config import TrainingConfig
from llm_assets.training.sweep.halving import Rung
from llm_assets.training.sweep.result import Sweep, Trial, swept

SECTION = {"max_steps": 40, "space": {"learning_rate": [0.001, 0.004], "r": [8]}}


def a_sweep(config: TrainingConfig | None = None) -> Sweep:
    """Return a sweep of four trials in two rungs; the third wins, the last cannot be trained."""
    trials = [
        Trial(number=0, hyperparameters={"learning_rate": 0.002, "r": 16}, losses=[3.0, 1.5]),
        Trial(number=1, hyperparameters={"learning_rate": 0.001, "r": 8}, losses=[4.0]),
        Trial(number=2, hyperparameters={"learning_rate": 0.004, "r": 8}, losses=[2.0, 1.0]),
        Trial(
            number=3,
            hyperparameters={"learning_rate": 1.0, "r": 8},
            losses=[],
            refusal="the loss of step 1 is nan",
        ),
    ]
    return Sweep(
        model_version="tiny-v0002",
        fingerprint="f1",
        dataset_sha256="d1",
        config=swept(config or TrainingConfig.of_plain({"sweep": SECTION})),
        num_validation_rows=4,
        rungs=[Rung(4, 5), Rung(2, 10)],
        trials=trials,
        best=trials[2],
        num_steps=40,
        seconds=12.5,
    )
