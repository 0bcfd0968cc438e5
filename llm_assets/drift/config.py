"""How drift is judged."""

from typing import Self

import pydantic

from llm_assets.config import Config


class DriftConfig(Config):
    """The `drift` section of an application.

    A window is one day. `reference_days` is for a version without a training set of its own, the
    base model: its baseline is the traffic of that many first days. `false_alarms_per_year` is
    how many days a year may be flagged although nothing changed. A cycle starts when
    `windows_needed` of the last `windows` defined windows drifted, so chance starts one far less
    often than it flags a day.
    """

    reference_days: int = pydantic.Field(default=7, ge=1, le=366)
    min_prompts: int = pydantic.Field(default=30, ge=2)
    false_alarms_per_year: float = pydantic.Field(default=12.0, ge=1.0, le=180.0)
    windows: int = pydantic.Field(default=3, ge=1, le=60)
    windows_needed: int = pydantic.Field(default=2, ge=1)

    @pydantic.model_validator(mode="after")
    def _needed_windows_exist(self) -> Self:
        if self.windows_needed > self.windows:
            raise ValueError(
                f"windows_needed must be at most windows ({self.windows}), "
                f"got {self.windows_needed}"
            )
        return self

    @property
    def false_alarm_rate(self) -> float:
        """The chance that an unchanged day is flagged, all detectors together."""
        return self.false_alarms_per_year / 365
