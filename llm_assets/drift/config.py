"""How drift is judged."""

import enum
from typing import Literal, Self

import pydantic

from llm_assets.config import Config

DEFAULT_EMBEDDING_MODEL = "all-MiniLM-L6-v2"


class Detector(enum.StrEnum):
    """One way to compare a day with its reference.

    The first five compare vectors of prompts, the next four their text, the last three what was
    answered.
    """

    MEAN_SHIFT = "mean_shift"
    NOVELTY = "novelty"
    TOPIC_GROWTH = "topic_growth"
    DOMAIN_CLASSIFIER = "domain_classifier"
    CELL_PSI = "cell_psi"
    CELL_JS = "cell_js"
    TOKEN_JS = "token_js"
    OUT_OF_VOCABULARY = "out_of_vocabulary"
    LENGTH = "length"
    LANGUAGE = "language"
    RESPONSE_TOKEN_JS = "response_token_js"
    RESPONSE_LENGTH = "response_length"
    REFUSAL_RATE = "refusal_rate"


OF_CELLS = frozenset({Detector.CELL_PSI, Detector.CELL_JS})
OF_TEXTS = frozenset(
    {Detector.TOKEN_JS, Detector.OUT_OF_VOCABULARY, Detector.LENGTH, Detector.LANGUAGE}
)
OF_ANSWERS = frozenset(
    {Detector.RESPONSE_TOKEN_JS, Detector.RESPONSE_LENGTH, Detector.REFUSAL_RATE}
)


class DriftConfig(Config):
    """The `drift` section of an application.

    A window is one day, or `max_prompts` of it drawn by the hash of their request ids. It is held
    against the prompts that the version was made for, or, where `reference` is same_weekday,
    against the same weekday of the `seasonal_weeks` before. `reference_days` is for a version
    without a training set of its own, the base model: its baseline is the traffic of that many
    first days; of every version they are the answers that later ones are compared with.

    `false_alarms_per_year` is how many days a year may be flagged although nothing changed; the
    `detectors` named here share it, and the others are told and flag nothing. A cycle starts when
    `windows_needed` of the last `windows` defined windows drifted, so chance starts one far less
    often than it flags a day.
    """

    reference: Literal["baseline", "same_weekday"] = "baseline"
    seasonal_weeks: int = pydantic.Field(default=8, ge=1, le=52)
    reference_days: int = pydantic.Field(default=7, ge=1, le=366)
    embedding_model: str = pydantic.Field(default=DEFAULT_EMBEDDING_MODEL, min_length=1)
    min_prompts: int = pydantic.Field(default=30, ge=2)
    max_prompts: int = pydantic.Field(default=5000, ge=2)
    detectors: tuple[Detector, ...] = pydantic.Field(
        default=(Detector.MEAN_SHIFT, Detector.NOVELTY, Detector.TOPIC_GROWTH), min_length=1
    )
    false_alarms_per_year: float = pydantic.Field(default=12.0, ge=1.0, le=180.0)
    windows: int = pydantic.Field(default=3, ge=1, le=60)
    windows_needed: int = pydantic.Field(default=2, ge=1)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.windows_needed > self.windows:
            raise ValueError(
                f"windows_needed must be at most windows ({self.windows}), "
                f"got {self.windows_needed}"
            )
        if self.max_prompts < self.min_prompts:
            raise ValueError(
                f"max_prompts must be at least min_prompts ({self.min_prompts}), "
                f"got {self.max_prompts}"
            )
        if len(set(self.detectors)) < len(self.detectors):
            raise ValueError("detectors must be named once each")
        return self

    @property
    def false_alarm_rate(self) -> float:
        """The chance that an unchanged day is flagged, all detectors together."""
        return self.false_alarms_per_year / 365

    @property
    def false_alarm_rate_each(self) -> float:
        """The part of it that each of the detectors that decide may spend (Bonferroni)."""
        return self.false_alarm_rate / len(self.detectors)
