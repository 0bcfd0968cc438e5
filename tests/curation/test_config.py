import pydantic
import pytest

from llm_assets.curation.config import CurationConfig


def test_holdout_and_validation_must_leave_something_to_train() -> None:
    with pytest.raises(pydantic.ValidationError, match="together must be less than 1, got 1"):
        CurationConfig(holdout_rate=0.5, validation_rate=0.5)
