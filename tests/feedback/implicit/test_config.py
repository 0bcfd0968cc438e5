import pydantic
import pytest

from llm_assets.feedback.config import FeedbackConfig
from llm_assets.feedback.implicit.config import ImplicitConfig


def test_a_rephrasing_lies_within_a_session() -> None:
    with pytest.raises(pydantic.ValidationError, match="at most session_gap_seconds"):
        ImplicitConfig(session_gap_seconds=300, rephrase_gap_seconds=301)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_false_positive_rate_is_small_and_positive(rate: float) -> None:
    with pytest.raises(pydantic.ValidationError, match="rephrase_false_positive_rate"):
        ImplicitConfig(rephrase_false_positive_rate=rate)


def test_it_is_a_part_of_the_feedback_section() -> None:
    config = FeedbackConfig.model_validate({"implicit": {"rephrase_false_positive_rate": 0.05}})
    assert config.implicit.rephrase_false_positive_rate == 0.05
