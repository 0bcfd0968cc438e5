"""One request on its way to an answer: what is known of it, and what is kept of it."""

from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any

from llm_assets.records import SHADOW_VARIANT, Interaction
from llm_assets.serving.chat import ChatRequest
from llm_assets.serving.completion import Completion
from llm_assets.serving.headers import CACHE, MODEL_VERSION, REQUEST_ID, VARIANT
from llm_assets.serving.response_cache import GivenAnswer
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.sse import Answer


@dataclass
class Exchange:
    """A request and as much of its answer as there is.

    `deadline` is in the time of the event loop. In a trial, two arms of a rollout are compared, and
    what one of them fails is asked of the other under the same id.
    """

    request_id: str
    variant: str
    time: datetime
    deadline: float
    is_trial: bool = False
    started: float = field(default_factory=perf_counter)
    chat: ChatRequest | None = None
    answer: Answer = field(default_factory=Answer)
    first_token_seconds: float | None = None
    given: GivenAnswer | None = None

    @property
    def is_shadow(self) -> bool:
        """Whether no user sees the answer."""
        return self.variant == SHADOW_VARIANT

    @property
    def is_empty(self) -> bool:
        """Whether the model had nothing to say, and no limit or stop of the client cut it off."""
        is_cut = self.answer.finish_reason == "length" or (self.chat and self.chat.stop)
        return not self.answer.has_text and not is_cut

    @property
    def seconds(self) -> float:
        """How long it takes so far."""
        return perf_counter() - self.started

    def add_chunk(self, chunk: dict[str, Any]) -> None:
        """Take in a chunk of a stream."""
        self.answer.add(chunk)
        if self.first_token_seconds is None and self.answer.has_text:
            self.first_token_seconds = self.seconds

    def add_completion(self, completion: dict[str, Any]) -> None:
        """Take in a whole answer; llama.cpp tells how long the tokens after the first took."""
        self.answer.add(completion)
        after_first = (completion.get("timings") or {}).get("predicted_ms")
        if self.answer.has_text and isinstance(after_first, int | float):
            self.first_token_seconds = max(0.0, self.seconds - after_first / 1000)

    def add_given(self, given: GivenAnswer) -> None:
        """Take an answer that was given before."""
        self.given = given
        self.answer = Answer(
            [given.text], given.finish_reason, given.num_prompt_tokens, given.num_response_tokens
        )
        self.first_token_seconds = self.seconds

    def forget_answer(self) -> None:
        """Drop what the client is not going to see."""
        self.answer, self.first_token_seconds = Answer(), None

    def to_give(self) -> GivenAnswer | None:
        """Return the answer as it may be given again, or None where it came to no end."""
        answer = self.answer
        if answer.finish_reason is None:
            return None
        return GivenAnswer(
            text=answer.text,
            finish_reason=answer.finish_reason,
            num_prompt_tokens=answer.num_prompt_tokens,
            num_response_tokens=answer.num_response_tokens,
            confidence=answer.confidence,
        )

    def completion(self, spec: ModelServerSpec) -> Completion:
        """Return the answer in the form that clients know."""
        return Completion(
            request_id=self.request_id,
            time=self.time,
            model_version=spec.model_version,
            text=self.answer.text,
            finish_reason=self.answer.finish_reason or "stop",
            num_prompt_tokens=self.answer.num_prompt_tokens,
            num_response_tokens=self.answer.num_response_tokens,
        )

    def headers(self, spec: ModelServerSpec) -> dict[str, str]:
        """Return the headers that every answer carries."""
        headers = {
            REQUEST_ID: self.request_id,
            VARIANT: self.variant,
            MODEL_VERSION: spec.model_version,
        }
        return headers if self.given is None else {**headers, CACHE: "hit"}

    def interaction(self, spec: ModelServerSpec, status: int) -> Interaction:
        """Return what is recorded.

        Of a conversation over the limit only the prompt is kept, and of that what is within it.
        """
        chat, answer, limit = self.chat, self.answer, spec.serving.max_prompt_characters
        return Interaction(
            request_id=self.request_id,
            application=spec.application,
            time=self.time,
            model_version=spec.model_version,
            variant=self.variant,
            prompt=chat.prompt[:limit] if chat else "",
            response=answer.text,
            messages=chat.conversation if chat and chat.num_characters <= limit else [],
            session_id=chat.session_id if chat else None,
            user_id=chat.user_id if chat else None,
            status=status,
            finish_reason=answer.finish_reason,
            latency_seconds=self.seconds,
            num_prompt_tokens=answer.num_prompt_tokens,
            num_response_tokens=answer.num_response_tokens,
            confidence=self.given.confidence if self.given else answer.confidence,
            first_token_seconds=self.first_token_seconds,
            is_cached=self.given is not None,
        )
