"""How a candidate is measured and what it must reach."""

from typing import Literal

import pydantic

from llm_assets.config import Config


class EvaluationConfig(Config):
    """The `evaluation` section of an application.

    `min_improvement` is in accuracy: the whole 95 % interval of the improvement must lie above it.
    """

    scorer: Literal["exact_match"] = "exact_match"
    min_samples: int = pydantic.Field(default=50, ge=1)
    min_improvement: float = pydantic.Field(default=0.0, ge=0.0, lt=1.0)
    max_tokens: int = pydantic.Field(default=16, ge=1, le=4096)
    num_workers: int = pydantic.Field(default=4, ge=1, le=64)
