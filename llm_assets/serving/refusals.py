"""The ways in which a request ends without an answer, and what its client is told."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect

from llm_assets.errors import UserError
from llm_assets.serving.engine_client import EngineError
from llm_assets.serving.headers import RATE_LIMITED
from llm_assets.serving.places import NoPlaceError
from llm_assets.serving.spec import ModelServerSpec

CLIENT_GONE = 499  # what proxies log for a client that did not wait; nobody receives it


class RefusedError(Exception):
    """A request ends without an answer: the status, and why, in a word and in a line.

    With `is_final` nobody else is asked, in a trial neither.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        is_final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers or {}
        self.is_final = is_final or status < 500


# What `refusal_of` knows; a TimeoutError is an OSError.
REFUSED = (RefusedError, UserError, EngineError, NoPlaceError, ClientDisconnect, OSError)


def refusal_of(error: Exception, spec: ModelServerSpec, *, has_begun: bool) -> RefusedError:
    """Return what becomes of a request whose work ended with an error."""
    match error:
        case RefusedError():
            return error
        case UserError():
            return RefusedError(400, "invalid_request", str(error))
        case NoPlaceError(retry_after_seconds=seconds):
            headers = {"retry-after": str(seconds), RATE_LIMITED: "true"}
            message = f"too many requests wait already; try again in {seconds} s"
            return RefusedError(503, "shed", message, headers=headers, is_final=True)
        case TimeoutError():
            limit = f"{spec.serving.timeout_seconds:g} s (serving.timeout_seconds)"
            return RefusedError(504, "timeout", f"no answer within {limit}")
        case EngineError():
            reason = "engine_failed" if has_begun else "engine_unavailable"
            return RefusedError(503, reason, f"the engine does not answer: {error}")
        case _:  # a send that fails has nobody left to receive it
            return RefusedError(CLIENT_GONE, "client_disconnected", "")


def refused_by_engine(status: int, body: Mapping[str, Any], spec: ModelServerSpec) -> RefusedError:
    """Return what becomes of a request to which the engine said no."""
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    if error.get("type") == "exceed_context_size_error":
        message = (
            f"messages: {error['n_prompt_tokens']} tokens, the context of application "
            f"{spec.application!r} holds {error['n_ctx']} (serving.context_tokens)"
        )
        return RefusedError(400, "invalid_request", message)
    message = str(error.get("message", "engine failed"))
    if 400 <= status < 500:
        return RefusedError(400, "invalid_request", message)
    return RefusedError(503, "engine_failed", message)


def empty_answer() -> RefusedError:
    """Return what becomes of a request whose answer holds no text."""
    return RefusedError(502, "empty_answer", "the model gave an empty answer")
