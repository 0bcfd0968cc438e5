"""How an application's sessions are read for what users do instead of saying it."""

from typing import Self

import pydantic

from llm_assets.config import Config


class ImplicitConfig(Config):
    """The section `feedback.implicit` of an application's file.

    A session is over when nobody asked for `session_gap_seconds`. A prompt that comes within
    `rephrase_gap_seconds` of the one before may be the same question again: in the same words it
    is a regeneration; in other words it is a rephrasing if the two are as similar as only
    `rephrase_false_positive_rate` of pairs are that cannot be one (see `calibration`), over the
    last `calibration_days`, and at least `rephrase_similarity_floor`.
    """

    session_gap_seconds: float = pydantic.Field(default=1800.0, ge=60, le=43_200)
    rephrase_gap_seconds: float = pydantic.Field(default=600.0, gt=0)
    rephrase_false_positive_rate: float = pydantic.Field(default=0.01, gt=0, le=0.2)
    rephrase_similarity_floor: float = pydantic.Field(default=0.6, ge=0, lt=1)
    calibration_days: int = pydantic.Field(default=7, ge=1, le=90)

    @pydantic.model_validator(mode="after")
    def _rephrasing_lies_within_a_session(self) -> Self:
        if self.rephrase_gap_seconds > self.session_gap_seconds:
            raise ValueError(
                f"rephrase_gap_seconds must be at most session_gap_seconds "
                f"({self.session_gap_seconds:g}), got {self.rephrase_gap_seconds:g}"
            )
        return self
