"""Where the conventions for LLM spans keep a call's messages: each in attributes of its own.

OpenTelemetry GenAI keeps the messages as one value, earlier in an event a message; OpenLLMetry
numbers them (`gen_ai.prompt.0.content`), and so does OpenInference
(`llm.input_messages.0.message.content`); the Vercel AI SDK has names of its own.
"""

from typing import Any, NamedTuple

from llm_assets.feedback.formats.bodies import (
    Messages,
    answer_of,
    conversation_of,
    finish_reason_of,
)
from llm_assets.feedback.formats.json_text import unpacked
from llm_assets.feedback.formats.reading import text_of
from llm_assets.feedback.formats.telemetry import Event

OPERATION_DETAILS = "gen_ai.client.inference.operation.details"
CHOICE = "gen_ai.choice"
MESSAGE_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CONTENT_EVENTS = (OPERATION_DETAILS, "gen_ai.content.prompt", "gen_ai.content.completion")
_INPUT_KEYS = ("gen_ai.input.messages", "gen_ai.prompt", "ai.prompt.messages")
_OUTPUT_KEYS = ("gen_ai.output.messages", "gen_ai.completion", "ai.response.text")


class Conversation(NamedTuple):
    """What was said in a call; `response` is None where the answer was not captured."""

    messages: Messages
    response: str | None
    finish_reason: str | None


def conversation_of_call(attributes: dict[str, Any], events: list[Event]) -> Conversation:
    """Return what the attributes of a call and its events say of its messages."""
    for event in events:
        if event.name in _CONTENT_EVENTS:
            attributes = {**attributes, **contents_of(event)}
    messages = _messages(attributes)
    response, finish_reason = _answer(attributes)
    if not messages or response is None:
        by_event = conversation_of_events(events)
        messages = messages or by_event.messages
        if response is None:
            response, finish_reason = by_event.response, by_event.finish_reason
    # The least exact come last: what an operation took and returned, in whatever form.
    messages = messages or conversation_of(attributes.get("input.value"))
    if response is None:
        response = answer_of(attributes.get("output.value"))
        finish_reason = finish_reason_of(attributes.get("output.value"))
    if "gen_ai.system_instructions" in attributes:
        system = text_of(unpacked(attributes["gen_ai.system_instructions"]))
        if system and not (messages and messages[0]["role"] == "system"):
            messages = [{"role": "system", "content": system}, *messages]
    return Conversation(messages, response, finish_reason)


def conversation_of_events(events: list[Event]) -> Conversation:
    """Return the conversation that older instrumentations tell in one event a message."""
    messages: Messages = []
    response = finish_reason = None
    for event in events:
        if event.name in MESSAGE_ROLES:
            contents = contents_of(event)
            said = {"role": MESSAGE_ROLES[event.name], "content": _event_text(contents)}
            messages += conversation_of([said])
        elif event.name == CHOICE and response is None:
            contents = contents_of(event)
            response = _event_text(contents)
            finish_reason = _text_or_none(contents.get("finish_reason"))
    return Conversation(messages, response, finish_reason)


def contents_of(event: Event) -> dict[str, Any]:
    """Return the attributes of an event with what older instrumentations put into its body."""
    body = unpacked(event.attributes.get("gen_ai.event.content", event.body))
    return {**body, **event.attributes} if isinstance(body, dict) else event.attributes


def numbered(attributes: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return a list that is spread over numbered attributes.

    >>> numbered({"m.1.role": "user", "m.0.role": "system", "m.0.content": "Hi"}, "m.")
    [{'role': 'system', 'content': 'Hi'}, {'role': 'user'}]
    """
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if key.startswith(prefix):
            number, _, rest = key[len(prefix) :].partition(".")
            if number.isdecimal() and len(number) <= 6:
                found.setdefault(int(number), {})[rest] = value
    return [found[number] for number in sorted(found)]


def _messages(attributes: dict[str, Any]) -> Messages:
    for key in _INPUT_KEYS:
        if key in attributes:
            return conversation_of(attributes[key])
    openllmetry = numbered(attributes, "gen_ai.prompt.")
    if openllmetry:
        return conversation_of([_openllmetry_message(message) for message in openllmetry])
    openinference = numbered(attributes, "llm.input_messages.")
    if openinference:
        return conversation_of([_openinference_message(message) for message in openinference])
    prompts = [prompt.get("prompt.text") for prompt in numbered(attributes, "llm.prompts.")]
    return conversation_of(text_of(prompts))


def _answer(attributes: dict[str, Any]) -> tuple[str | None, str | None]:
    for key in _OUTPUT_KEYS:
        if key in attributes:
            return _first_choice(unpacked(attributes[key]))
    openllmetry = numbered(attributes, "gen_ai.completion.")
    if openllmetry:
        return _first_choice([_openllmetry_message(message) for message in openllmetry])
    openinference = numbered(attributes, "llm.output_messages.")
    if openinference:
        return _first_choice([_openinference_message(message) for message in openinference])
    choices = numbered(attributes, "llm.choices.")
    return (_text_or_none(choices[0].get("completion.text")) if choices else None), None


def _first_choice(value: Any) -> tuple[str | None, str | None]:
    """Return the first answer with text: what only calls tools, or reasons, has none."""
    choices = value if isinstance(value, list) else [value]
    answers = [answer_of(choice) for choice in choices]
    first = choices[0] if choices else None
    reason = first.get("finish_reason") if isinstance(first, dict) else None
    return next(filter(None, answers), "" if answers else None), _text_or_none(reason)


def _openllmetry_message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    parts = unpacked(content)
    is_parts = isinstance(parts, list) and all(
        isinstance(part, dict) and "type" in part for part in parts
    )
    return {
        "role": message.get("role", "user"),
        "content": parts if is_parts else content,
        "finish_reason": message.get("finish_reason"),
    }


def _openinference_message(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("message.content")
    if content is None:
        parts = numbered(message, "message.contents.")
        content = [part.get("message_content.text") for part in parts]
    return {"role": message.get("message.role", "user"), "content": content}


def _event_text(contents: dict[str, Any]) -> str:
    message = unpacked(contents.get("message"))
    if isinstance(message, dict):
        return text_of(message.get("content"))
    return text_of(contents.get("content", message))


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
