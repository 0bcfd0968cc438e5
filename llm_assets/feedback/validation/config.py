"""What is still normal in a day of logs."""

import pydantic

from llm_assets.config import Config


class ValidationConfig(Config):
    """The section `feedback.validation` of an application's file.

    A day may hold `volume_tolerance` less than is usual on its weekday, or so much more that the
    usual is that much less. `max_interaction_age_days` and `max_feedback_age_days` say how old the
    newest record may be. Of a day's answered prompts `max_blank_prompt_rate` may be blank, of its
    feedback `max_unknown_request_rate` may speak of requests that are not there.
    """

    volume_tolerance: float = pydantic.Field(default=0.5, gt=0.0, lt=1.0)
    max_interaction_age_days: float = pydantic.Field(default=3.0, gt=0.0)
    max_feedback_age_days: float = pydantic.Field(default=14.0, gt=0.0)
    max_latency_seconds: float = pydantic.Field(default=3600.0, gt=0.0)
    max_blank_prompt_rate: float = pydantic.Field(default=0.01, ge=0.0, le=1.0)
    max_unknown_request_rate: float = pydantic.Field(default=0.1, ge=0.0, le=1.0)
