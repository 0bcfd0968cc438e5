"""What becomes a training row."""

from typing import Self

import pydantic

from llm_assets.config import Config


class CurationConfig(Config):
    """The `curation` section of an application.

    Feedback that comes more than `late_feedback_days` after its interaction is left out. Of more
    than `max_rows` the newest are kept. The split depends on `split_salt` and the two rates only:
    change one of them, and prompts that a version was trained on turn up in the holdout.
    """

    holdout_rate: float = pydantic.Field(default=0.25, gt=0.0, lt=1.0)
    validation_rate: float = pydantic.Field(default=0.05, ge=0.0, lt=1.0)
    split_salt: str = "llm-assets"
    max_rows: int = pydantic.Field(default=10_000, ge=1)
    late_feedback_days: int = pydantic.Field(default=30, ge=0)

    @pydantic.model_validator(mode="after")
    def _something_is_left_to_train(self) -> Self:
        total = self.holdout_rate + self.validation_rate
        if total >= 1:
            raise ValueError(
                f"holdout_rate and validation_rate together must be less than 1, got {total:g}"
            )
        return self
