import pydantic
import pytest

from llm_assets.deployment.judging.config import JudgeConfig
from llm_assets.records import first_problem


@pytest.mark.parametrize("given", [{}, {"base_url": "http://judge/v1"}, {"model": "judge"}])
def test_a_model_needs_its_address_and_its_name(given: dict[str, str]) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        JudgeConfig.of_plain({"kind": "model"} | given)
    assert "kind 'model' needs base_url and model" in first_problem(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "oracle"),
        ("judge_rate", 0),
        ("judge_rate", 1.5),
        ("max_judged", 0),
        ("base_url", "judge/v1"),
        ("base_url", "http://judge:port/v1"),
        ("base_url", "https://user:password@judge/v1"),
        ("rubric", ""),
        ("timeout_seconds", 0),
        ("max_concurrency", 0),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(pydantic.ValidationError, match=key):
        JudgeConfig.of_plain({key: value})
