"""How an application's interactions and feedback are taken in."""

import pydantic

from llm_assets.config import Config
from llm_assets.feedback.implicit.config import ImplicitConfig
from llm_assets.feedback.scrubbing.config import PersonalDataConfig
from llm_assets.feedback.validation.config import ValidationConfig


class FeedbackConfig(Config):
    """The section `feedback` of an application's file.

    Feedback whose request has not arrived after `orphaned_after_days` is listed as orphaned. Of
    one user and day only the first `max_feedback_per_user_and_day` signals count; all are kept.
    A client's token may send `max_records_per_second`, and twice that in a burst.
    """

    personal_data: PersonalDataConfig = PersonalDataConfig()
    orphaned_after_days: int = pydantic.Field(default=7, ge=0)
    max_feedback_per_user_and_day: int = pydantic.Field(default=100, gt=0)
    implicit: ImplicitConfig = ImplicitConfig()
    validation: ValidationConfig = ValidationConfig()
    max_records_per_second: float = pydantic.Field(default=1000.0, gt=0)
