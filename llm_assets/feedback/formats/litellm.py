"""LiteLLM's logs: the standard payload of its loggers, and the rows of its spend table.

    {"id": …, "call_type": "acompletion", "startTime": 1760000000.0, "messages": […], …}
    {"request_id": …, "call_type": …, "startTime": "2025-10-09 …", "messages": "[…]", "spend": …}

The fields are those of `StandardLoggingPayload` (`litellm/types/utils.py`; what the loggers to S3,
GCS, and files write, an object each) and of `SpendLogsPayload` (`litellm/proxy/_types.py`), whose
columns of JSON are texts. A row holds prompts only where the proxy was told to store them; one
without, or with redacted ones, is passed over, and so are calls that are no chat.
"""

import re
from typing import Any

from llm_assets.feedback.formats.bodies import (
    answer_of,
    confidence_of_response,
    conversation_of,
    finish_reason_of,
    response_id_of,
)
from llm_assets.feedback.formats.json_text import unpacked
from llm_assets.feedback.formats.reading import (
    Reading,
    count_of,
    distinct_identifiers,
    first_identifier,
    interaction_of,
    number_of,
    required_identifier,
    seconds_between,
    session_of,
    time_of,
)

_REDACTED = "redacted-by-litellm"
_CODE = re.compile("[0-9]{3}")
_CHATS = ("completion", "responses", "message", "generate_content")


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a payload or a row."""
    return "call_type" in fields and "startTime" in fields


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction, or count the object as passed over where it holds no conversation.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    time = time_of(fields.get("startTime"), "startTime")
    messages = conversation_of(fields.get("messages"))
    if not messages:
        messages = conversation_of(_body(fields.get("proxy_server_request")).get("messages"))
    if not _is_chat(fields) or not messages or any(_REDACTED in m["content"] for m in messages):
        return Reading([], [], 1)
    response, metadata = unpacked(fields.get("response")), _body(fields.get("metadata"))
    answer = answer_of(response)
    # The id of the response is what feedback names; a payload has it as "id".
    request_id = required_identifier(fields, "id" if "id" in fields else "request_id")
    interaction = interaction_of(
        request_id=request_id,
        application=application,
        time=time,
        messages=messages,
        response=None if answer == _REDACTED else answer,
        model=fields.get("model"),
        session_id=session_of(fields, metadata, metadata.get("requester_metadata")),
        user_id=first_identifier(fields, "end_user", "user")
        or first_identifier(metadata, "user_api_key_end_user_id"),
        status=_status(fields, metadata),
        finish_reason=finish_reason_of(response),
        confidence=confidence_of_response(response),
        latency_seconds=number_of(fields.get("response_time"))
        or seconds_between(time, fields.get("endTime")),
        num_prompt_tokens=count_of(fields.get("prompt_tokens")),
        num_response_tokens=count_of(fields.get("completion_tokens")),
        aliases=distinct_identifiers(
            response_id_of(response),
            fields.get("request_id"),
            fields.get("litellm_call_id"),
            fields.get("trace_id"),
            other_than=request_id,
        ),
    )
    return Reading([interaction], [])


def _is_chat(fields: dict[str, Any]) -> bool:
    call = fields.get("call_type")
    return not isinstance(call, str) or not call or any(word in call for word in _CHATS)


def _status(fields: dict[str, Any], metadata: dict[str, Any]) -> int:
    if fields.get("status") != "failure":
        return 200
    error = fields.get("error_information") or metadata.get("error_information")
    code = error.get("error_code") if isinstance(error, dict) else None
    number = count_of(int(code) if isinstance(code, str) and _CODE.fullmatch(code) else code)
    return number if number is not None and 400 <= number <= 599 else 500


def _body(value: Any) -> dict[str, Any]:
    value = unpacked(value)
    return value if isinstance(value, dict) else {}
