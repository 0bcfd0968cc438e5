"""Logged pairs of an OpenAI chat completion request and its response.

    {"request": {"model": …, "messages": […]}, "response": {"id": …, "created": …, "choices": […]}}

The fields are those of `openai/types/chat` in the package openai 3.54. Only text is kept: parts of
other kinds in a message's content (images, audio) are passed over.
"""

from datetime import datetime
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats.bodies import confidence_of_response
from llm_assets.feedback.formats.reading import (
    Reading,
    chat_messages,
    count_of,
    first_identifier,
    interaction_of,
    member,
    objects,
    optional,
    session_of,
    text_of,
    time_of,
)
from llm_assets.records import Interaction


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object has a request with messages and a response with choices."""
    request, response = fields.get("request"), fields.get("response")
    return (
        isinstance(request, dict)
        and isinstance(response, dict)
        and "messages" in request
        and "choices" in response
        and "workload_id" not in fields
    )


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    request, response = member(fields, "request", dict), member(fields, "response", dict)
    time = time_of(response.get("created"), "response.created")
    return Reading([exchange(request, response, application=application, time=time)], [])


def exchange(
    request: dict[str, Any], response: dict[str, Any], *, application: str, time: datetime
) -> Interaction:
    """Return the interaction of a request's body and its response's; other logs hold them too.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    messages = chat_messages(member(request, "messages", list))
    choices = objects(response, "choices")
    if not choices:
        raise UserError("choices: must hold a choice")
    usage = optional(response, "usage", dict) or {}
    return interaction_of(
        request_id=member(response, "id", str),
        application=application,
        time=time,
        messages=messages,
        response=text_of(member(choices[0], "message", dict).get("content")),
        model=response.get("model") or request.get("model"),
        session_id=session_of(request.get("metadata")),
        user_id=first_identifier(request, "user", "safety_identifier"),
        finish_reason=optional(choices[0], "finish_reason", str),
        confidence=confidence_of_response(response),
        num_prompt_tokens=count_of(usage.get("prompt_tokens")),
        num_response_tokens=count_of(usage.get("completion_tokens")),
    )
