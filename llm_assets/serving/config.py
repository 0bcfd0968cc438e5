"""How an application is served: the limits of a request and the size of the engine."""

from typing import Literal, Self

import pydantic

from llm_assets.config import Config

Quantization = Literal["F32", "F16", "Q8_0", "Q5_0", "Q4_0"]


class ServingConfig(Config):
    """The `serving` section of an application's file.

    `context_tokens` is what one request may hold, prompt and answer together; the engine keeps
    that much for each of its `parallel_requests`. Q8_0 is the smallest format whose answers stayed
    those of a trained adapter; let evaluation decide before a smaller one serves.

    `trust_client_time` lets a replay of old traffic say when each request happened, in
    `metadata.timestamp`; leave it off where clients are strangers. `record_confidence` keeps with
    each answer how sure the model was of it; clients see none of it.

    Beyond the `parallel_requests`, `max_waiting_requests` wait for their turn; more are answered at
    once with 503 and `Retry-After`. `refuse_empty_answers` makes an answer without any text a
    failure, 502, so that the other arm of a rollout is asked; where `max_tokens` or a `stop` of the
    client left no text, it is none.

    With `prefix_cache` the engine works through the common beginning of requests, such as the
    system prompt, once for each of its slots. `response_cache_entries` is how many finished answers
    at temperature 0 are kept in memory for whoever asks exactly the same again; 0 keeps none.
    `cache_in_trials` lets both work also while a rollout compares two arms, whose times then say
    less about the models.
    """

    max_tokens: int = pydantic.Field(default=64, ge=1)
    context_tokens: int = pydantic.Field(default=512, ge=32)
    parallel_requests: int = pydantic.Field(default=4, ge=1, le=256)
    threads: int = pydantic.Field(default=2, ge=1)
    timeout_seconds: float = pydantic.Field(default=30.0, gt=0)
    max_prompt_characters: int = pydantic.Field(default=8000, ge=1)
    max_waiting_requests: int = pydantic.Field(default=64, ge=0)
    refuse_empty_answers: bool = True
    fallback_answer: str = pydantic.Field(
        default="I am sorry, I cannot answer right now. Please try again in a minute.", min_length=1
    )
    prefix_cache: bool = True
    response_cache_entries: int = pydantic.Field(default=0, ge=0)
    cache_in_trials: bool = False
    trust_client_time: bool = False
    record_confidence: bool = False
    quantization: Quantization = "Q8_0"

    @pydantic.model_validator(mode="after")
    def _answer_fits_the_context(self) -> Self:
        if self.max_tokens >= self.context_tokens:
            raise ValueError(
                f"max_tokens must be less than context_tokens ({self.context_tokens}), "
                f"got {self.max_tokens}"
            )
        return self
