"""Logged pairs of an OpenAI chat completion request and its response.

    {"request": {"model": …, "messages": […]}, "response": {"id": …, "created": …, "choices": […]}}

Only text is kept: parts of other kinds in a message's content (images, audio) are passed over.
"""

from datetime import UTC, datetime
from typing import Any

from llm_assets.errors import UserError
from llm_assets.records import Interaction


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object has a request with messages and a response with choices."""
    request, response = fields.get("request"), fields.get("response")
    return (
        isinstance(request, dict)
        and isinstance(response, dict)
        and "messages" in request
        and "choices" in response
    )


def read(fields: dict[str, Any], application: str) -> Interaction:
    """Return the interaction.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    request = _member(fields, "request", dict)
    response = _member(fields, "response", dict)
    messages = [
        {"role": _member(message, "role", str), "content": _text(message.get("content"))}
        for message in _objects(request, "messages")
    ]
    prompts = [message["content"] for message in messages if message["role"] == "user"]
    choices = _objects(response, "choices")
    if not prompts or not choices:
        raise UserError("request.messages must hold a user message and response.choices a choice")
    usage = response.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Interaction(
        request_id=_member(response, "id", str),
        application=application,
        time=_time(_member(response, "created", int)),
        model_version=str(response.get("model") or request.get("model")),
        variant="external",
        prompt=prompts[-1],
        response=_text(_member(choices[0], "message", dict).get("content")),
        messages=messages,
        user_id=request.get("user"),
        finish_reason=choices[0].get("finish_reason"),
        num_prompt_tokens=usage.get("prompt_tokens"),
        num_response_tokens=usage.get("completion_tokens"),
    )


def _member(fields: dict[str, Any], key: str, kind: type) -> Any:
    value = fields.get(key)
    if not isinstance(value, kind):
        raise UserError(f"{key}: must be of type {kind.__name__}, got {value!r:.60}")
    return value


def _objects(fields: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = _member(fields, key, list)
    if not all(isinstance(value, dict) for value in values):
        raise UserError(f"{key}: must hold objects only")
    return values


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _time(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise UserError(f"created: must be seconds since 1970, got {seconds}") from None
