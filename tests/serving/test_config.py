import pydantic
import pytest

from llm_assets.serving.config import ServingConfig


def test_an_answer_must_fit_the_context() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"less than context_tokens \(64\), got 64"):
        ServingConfig(max_tokens=64, context_tokens=64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_tokens", 0),
        ("timeout_seconds", 0),
        ("threads", 1.5),
        ("quantization", "Q2"),
        ("x", 1),
        ("max_waiting_requests", -1),
        ("response_cache_entries", -1),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(pydantic.ValidationError, match=key):
        ServingConfig.model_validate({key: value})
