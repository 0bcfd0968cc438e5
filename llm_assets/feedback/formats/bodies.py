"""Conversations and answers as the clients of many libraries log them: OpenAI, LangChain, blocks.

Traces hold whatever the traced function took and returned, so the same few shapes turn up in all
of them: a text; a message; a list of messages; an object that holds one of these under a usual
key; any of it as JSON in a text.
"""

from typing import Any

from llm_assets.feedback.formats.json_text import unpacked
from llm_assets.feedback.formats.reading import text_of
from llm_assets.records import confidence_of

# LangChain names the kind of a message by its class or by its type.
_ROLES = {
    "human": "user",
    "humanmessage": "user",
    "humanmessagechunk": "user",
    "ai": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "model": "assistant",
    "systemmessage": "system",
    "developer": "system",
    "toolmessage": "tool",
    "function": "tool",
}
_CONVERSATION_KEYS = ("messages", "input", "inputs", "prompt", "prompts", "contents")
_QUESTION_KEYS = ("question", "query", "user_input", "text")
_ANSWER_KEYS = ("output", "outputs", "answer", "response", "completion", "result", "generations")
_WRAPPERS = frozenset({"choices", "generations", "role", "message", "messages", "kwargs"})
_DEPTH = 8  # nobody nests an answer deeper, and Python must not either

Messages = list[dict[str, str]]


def conversation_of(value: Any) -> Messages:
    """Return the conversation that a request holds, as role and text; empty where there is none.

    A text alone, or under a key such as "question", is what the user said.
    """
    return _conversation(value, _DEPTH)


def _conversation(value: Any, depth: int) -> Messages:
    if depth == 0:
        return []
    if isinstance(value, str):
        inner = unpacked(value)
        found = [] if inner is value else _conversation(inner, depth - 1)
        # JSON that holds no conversation is what the user typed, unless it holds nothing at all.
        is_said = bool(inner.strip() if isinstance(inner, str) else inner)
        return found or ([{"role": "user", "content": value}] if is_said else [])
    if isinstance(value, list):
        return _listed(value, depth)
    if not isinstance(value, dict):
        return []
    message = _message(value)
    if message is not None:
        return [message]
    for key in _CONVERSATION_KEYS:
        found = _conversation(value.get(key), depth - 1)
        if found:
            system = value.get("system", value.get("system_prompt", value.get("instructions")))
            return _with_system(text_of(system), found)
    question = next((value[key] for key in _QUESTION_KEYS if isinstance(value.get(key), str)), "")
    return [{"role": "user", "content": question}] if question.strip() else []


def _listed(values: list[Any], depth: int) -> Messages:
    messages = [message for value in values if (message := _message(value))]
    if messages:
        return messages
    # LangChain keeps a batch of conversations, of one as a rule; a list of parts is one message.
    if len(values) == 1:
        return _conversation(values[0], depth - 1)
    text = text_of(values)
    return [{"role": "user", "content": text}] if text.strip() else []


def _with_system(system: str, messages: Messages) -> Messages:
    if system and messages[0]["role"] != "system":
        return [{"role": "system", "content": system}, *messages]
    return messages


def _message(value: Any) -> dict[str, str] | None:
    """Return a message of OpenAI, GenAI conventions, or LangChain in any of its JSON forms."""
    if not isinstance(value, dict):
        return None
    inner = value.get("kwargs", value.get("data"))
    if isinstance(inner, dict) and "content" in inner:
        name = value.get("id")
        kind = inner.get("role", name[-1] if isinstance(name, list) and name else None)
        return _named(kind or inner.get("type") or value.get("type"), inner["content"])
    if isinstance(value.get("role"), str):
        return _named(value["role"], value.get("content", value.get("parts")))
    if isinstance(value.get("type"), str) and value["type"].lower() in _ROLES:
        return _named(value["type"], value.get("content"))
    return None


def _named(role: Any, content: Any) -> dict[str, str] | None:
    if not isinstance(role, str):
        return None
    return {"role": _ROLES.get(role.lower(), role), "content": text_of(content)}


def answer_of(value: Any) -> str | None:
    """Return the text that a response holds; None where there is none to be found.

    Of several choices it is the first, of a conversation the last message of the assistant.
    """
    return _answer(value, _DEPTH)


def _answer(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        inner = unpacked(value)
        found = _answer(inner, depth - 1) if depth and _is_wrapping(inner) else None
        return value if found is None else found
    if depth == 0:
        return None
    if isinstance(value, list):
        return _answer_listed(value, depth)
    return _answer_inside(value, depth) if isinstance(value, dict) else None


def _answer_inside(value: dict[str, Any], depth: int) -> str | None:
    choices = value.get("choices")
    if isinstance(choices, list):
        return _answer(choices[0], depth - 1) if choices else None
    message = _message(value)
    if message is not None:
        return message["content"]
    if "message" in value:
        return _answer(value["message"], depth - 1)
    texts = (value[key] for key in ("text", "content") if isinstance(value.get(key), str | list))
    text = next(texts, None)
    if text is not None:
        return text_of(text)
    if isinstance(value.get("messages"), list):
        return _answer_listed(value["messages"], depth)
    answers = (_answer(value[key], depth - 1) for key in _ANSWER_KEYS if key in value)
    return next((answer for answer in answers if answer is not None), None)


def _is_wrapping(value: Any) -> bool:
    """Say whether JSON in a text holds an answer; a model may answer in JSON of its own as well."""
    if isinstance(value, list):
        return all(isinstance(part, dict) and ("type" in part or _message(part)) for part in value)
    return isinstance(value, dict) and (len(value) == 1 or not _WRAPPERS.isdisjoint(value))


def _answer_listed(values: list[Any], depth: int) -> str | None:
    messages = [message for value in values if (message := _message(value))]
    if messages:
        said = [message["content"] for message in messages if message["role"] == "assistant"]
        return said[-1] if said else None
    if len(values) == 1:
        return _answer(values[0], depth - 1)
    return text_of(values) or None


def finish_reason_of(response: Any) -> str | None:
    """Return why the first choice of a response ended, where it tells."""
    reason = _first_choice(response).get("finish_reason")
    return reason if isinstance(reason, str) else None


def confidence_of_response(response: Any) -> float | None:
    """Return how sure the model was of the first choice of a response, where its logprobs tell."""
    logprobs = _first_choice(response).get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return confidence_of(content) if isinstance(content, list) else None


def _first_choice(response: Any) -> dict[str, Any]:
    response = unpacked(response)
    choices = response.get("choices") if isinstance(response, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def response_id_of(response: Any) -> Any:
    """Return the id that the model's server gave its response, where it tells one."""
    response = unpacked(response)
    return response.get("id") if isinstance(response, dict) else None
