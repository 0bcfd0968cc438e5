"""Open WebUI's export of feedback: a rating with a snapshot of the chat that it was given in.

    {"id": …, "type": "rating", "data": {"rating": -1, …}, "meta": {"chat_id": …, "message_id": …},
     "snapshot": {"chat": {"chat": {"history": {"messages": {…}}}}}, "created_at": 1760000060}

The fields are those of `backend/open_webui/models/feedbacks.py`, exported by
`GET /api/v1/evaluations/feedbacks/all/export`, and of the messages that the chat's page keeps. The
rated message is the interaction. An answer that the user edited is a correction, and a rating in
the arena prefers one of two answers.
"""

from datetime import datetime
from typing import Any

from llm_assets.feedback.formats.bodies import Messages
from llm_assets.feedback.formats.reading import (
    Parts,
    Reading,
    derived_id,
    first_identifier,
    identifier,
    interaction_of,
    number_of,
    optional,
    required_identifier,
    text_of,
    time_of,
)
from llm_assets.feedback.formats.scores import Target, read_score
from llm_assets.records import Feedback, FeedbackKind

_Chat = dict[str, dict[str, Any]]


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a feedback with its data and what it is about."""
    data, meta = fields.get("data"), fields.get("meta")
    return (
        isinstance(data, dict)
        and isinstance(meta, dict)
        and "type" in fields
        and ("rating" in data or "message_id" in meta)
    )


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the rated interaction, if the snapshot holds it, and the feedback.

    Raises:
        UserError: an id or the time is missing; the message names it.
    """
    data = optional(fields, "data", dict) or {}
    meta = optional(fields, "meta", dict) or {}
    feedback_id = required_identifier(fields, "id")
    if fields.get("type") != "rating":
        return Reading([], [], 1)
    message_id = required_identifier(meta, "message_id")
    target = Target(
        application=application,
        time=time_of(fields.get("created_at") or fields.get("updated_at"), "created_at"),
        request_id=message_id,
        session_id=first_identifier(meta, "chat_id"),
        user_id=first_identifier(fields, "user_id"),
    )
    chat = _chat(fields)
    parts = Parts()
    if message_id in chat:
        with parts.part("snapshot"):
            parts.records.append(_interaction(chat, message_id, data, target))
    _read_rating(parts, data, target, feedback_id)
    if message_id in chat:
        _read_edit(parts, chat[message_id], target, feedback_id)
        if meta.get("arena") or data.get("sibling_model_ids"):
            _read_preference(parts, chat, data, target, feedback_id)
    return parts.reading()


def _chat(fields: dict[str, Any]) -> _Chat:
    """Return the messages of the snapshot by their ids."""
    place: Any = fields
    for key in ("snapshot", "chat", "chat", "history", "messages"):
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        return {}
    return {key: message for key, message in place.items() if isinstance(message, dict)}


def _interaction(chat: _Chat, message_id: str, data: dict[str, Any], target: Target) -> Any:
    answer = chat[message_id]
    messages: Messages = []
    seen = {message_id}
    parent = identifier(answer.get("parentId"))
    while parent is not None and parent in chat and parent not in seen:
        seen.add(parent)
        message = chat[parent]
        role = message.get("role")
        if isinstance(role, str):
            messages.append({"role": role, "content": text_of(message.get("content"))})
        parent = identifier(message.get("parentId"))
    return interaction_of(
        request_id=message_id,
        application=target.application,
        time=_time(answer, target.time),
        messages=messages[::-1],
        response=_given(answer),
        model=answer.get("model") or data.get("model_id"),
        session_id=target.session_id,
        user_id=target.user_id,
    )


def _time(message: dict[str, Any], otherwise: datetime) -> datetime:
    return otherwise if message.get("timestamp") is None else time_of(message["timestamp"], "time")


def _given(answer: dict[str, Any]) -> str:
    """Return what the model answered, before any edit."""
    return text_of(answer.get("originalContent") or answer.get("content"))


def _read_rating(parts: Parts, data: dict[str, Any], target: Target, feedback_id: str) -> None:
    # The number of the thumb may be a text; it is a thumb whatever the page calls it.
    rating = {"1": 1, "-1": -1}.get(str(data.get("rating")))
    comment = data.get("comment") or data.get("reason")
    with parts.part("data"):
        parts.add(
            read_score(
                target,
                feedback_id=feedback_id,
                name=optional(data, "reason", str) or "thumb",
                value=rating,
                comment=comment,
            )
        )
    details = optional(data, "details", dict) or {}
    of_ten = number_of(details.get("rating"))
    if of_ten is not None:
        with parts.part("data.details"):
            scored = derived_id(feedback_id, "details")
            parts.add(
                read_score(target, feedback_id=scored, name="of_ten", value=of_ten, is_graded=True)
            )


def _read_edit(parts: Parts, answer: dict[str, Any], target: Target, feedback_id: str) -> None:
    edited = text_of(answer.get("content"))
    if answer.get("originalContent") and edited.strip() and edited != _given(answer):
        with parts.part("snapshot"):
            parts.records.append(
                Feedback(
                    feedback_id=derived_id(feedback_id, "correction"),
                    kind=FeedbackKind.CORRECTION,
                    text=edited,
                    **target._asdict(),
                )
            )


def _read_preference(
    parts: Parts, chat: _Chat, data: dict[str, Any], target: Target, feedback_id: str
) -> None:
    """Two answers to one message and a thumb on one of them say which is better."""
    rated = chat[target.request_id or ""]
    siblings = [
        _given(message)
        for message in chat.values()
        if message is not rated
        and message.get("role") == "assistant"
        and message.get("parentId") == rated.get("parentId")
    ]
    if len(siblings) != 1 or str(data.get("rating")) not in ("1", "-1"):
        return
    pair = (_given(rated), siblings[0])
    chosen, rejected = pair if str(data["rating"]) == "1" else pair[::-1]
    if chosen.strip() and rejected.strip() and chosen != rejected:
        with parts.part("snapshot"):
            parts.records.append(
                Feedback(
                    feedback_id=derived_id(feedback_id, "preference"),
                    kind=FeedbackKind.PREFERENCE,
                    text=chosen,
                    rejected=rejected,
                    **target._asdict(),
                )
            )
