"""How the answers of two versions are held against each other."""

from typing import Literal, Self

import httpx
import pydantic

from llm_assets.config import Config

DEFAULT_RUBRIC = (
    "The better answer is correct, does what the user asked for, and nothing else. A wrong answer "
    "is worse than one that says what it does not know. Style counts only between answers that are "
    "equally right."
)


class JudgeConfig(Config):
    """Who judges pairs of answers, and how many of them.

    The `scorer` is the application's own, and knows only prompts that a user corrected. A `model`
    behind any endpoint that speaks OpenAI's API compares all others as well; the conversations are
    sent there. `base_url` ends where OpenAI's does, usually in `/v1`; `api_key_env` names the
    environment variable that holds the key. A pair takes a model two calls, and `max_judged` counts
    the pairs of one rollout.
    """

    kind: Literal["scorer", "model"] = "scorer"
    judge_rate: float = pydantic.Field(default=1.0, gt=0, le=1)
    max_judged: int = pydantic.Field(default=500, ge=1)
    base_url: str | None = pydantic.Field(default=None, pattern=r"^https?://[^\s@?#]+$")
    model: str | None = pydantic.Field(default=None, min_length=1)
    api_key_env: str | None = pydantic.Field(default=None, min_length=1)
    rubric: str = pydantic.Field(default=DEFAULT_RUBRIC, min_length=1)
    timeout_seconds: float = pydantic.Field(default=60.0, gt=0)
    max_concurrency: int = pydantic.Field(default=4, ge=1, le=64)

    @pydantic.field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        try:
            httpx.URL(value or "")
        except httpx.InvalidURL as error:
            raise ValueError(f"is no address: {error}") from None
        return value

    @pydantic.model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if self.kind == "model" and not (self.base_url and self.model):
            raise ValueError("kind 'model' needs base_url and model")
        return self
