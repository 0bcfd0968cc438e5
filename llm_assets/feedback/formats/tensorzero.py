"""Rows of TensorZero's tables: inferences and the feedback on them.

    {"_table": "ChatInference", "id": …, "function_name": …, "episode_id": …, "input": "{…}", …}
    {"_table": "BooleanMetricFeedback", "id": …, "target_id": …, "metric_name": …, "value": true}
    {"_table": "CommentFeedback", "id": …, "target_id": …, "target_type": "inference", "value": …}
    {"_table": "DemonstrationFeedback", "id": …, "inference_id": …, "value": "[…]"}

The columns are those of `docs/gateway/data-model.mdx`. `_table` is what an export of several tables
may add; without it a row is known by its columns. Ids are UUIDs of version 7, which hold the time.
A demonstration is the answer that somebody wanted. Rows of other tables are passed over.
"""

import uuid
from datetime import datetime
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats.bodies import Messages, answer_of
from llm_assets.feedback.formats.json_text import unpacked
from llm_assets.feedback.formats.reading import (
    Reading,
    distinct_identifiers,
    first_identifier,
    interaction_of,
    number_of,
    optional,
    required_identifier,
    text_of,
    time_of,
)
from llm_assets.feedback.formats.scores import Target, read_score

_INFERENCES = ("ChatInference", "JsonInference")
_METRICS = ("BooleanMetricFeedback", "FloatMetricFeedback")
_TABLES = (
    *_INFERENCES,
    *_METRICS,
    "CommentFeedback",
    "DemonstrationFeedback",
    "ModelInference",
    "DynamicInContextLearningExample",
)
_JUDGED = "tensorzero::evalua"  # tags and metrics of evaluations and their evaluators


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a row of one of the tables."""
    return _table(fields) is not None


def _table(fields: dict[str, Any]) -> str | None:
    named = fields.get("_table")
    if isinstance(named, str):
        return named if named in _TABLES else None
    if "function_name" in fields and "episode_id" in fields and "variant_name" in fields:
        return "JsonInference" if "output_schema" in fields else "ChatInference"
    if "target_id" in fields and "metric_name" in fields:
        is_boolean = isinstance(fields.get("value"), bool)
        return "BooleanMetricFeedback" if is_boolean else "FloatMetricFeedback"
    if "target_id" in fields and "target_type" in fields:
        return "CommentFeedback"
    if "inference_id" in fields:
        if "raw_request" in fields:
            return "ModelInference"
        return "DemonstrationFeedback" if "value" in fields else None
    return None


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction or the feedback.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    table = _table(fields)
    if table in _INFERENCES:
        return _read_inference(fields, application)
    if table in _METRICS:
        return _read_metric(fields, application, is_boolean=table == "BooleanMetricFeedback")
    if table == "CommentFeedback":
        target = _target(fields, application)
        return _read_said(fields, target, name="comment", comment=fields.get("value"))
    if table == "DemonstrationFeedback":
        target = _target(fields, application)
        wanted = _output(fields.get("value"))
        return _read_said(fields, target, name="demonstration", correction=wanted)
    if table is None:
        raise UserError("is a row of no table of TensorZero")
    return Reading([], [], 1)


def _read_inference(fields: dict[str, Any], application: str) -> Reading:
    request_id = required_identifier(fields, "id")
    tags = _tags(fields)
    milliseconds = number_of(fields.get("processing_time_ms"))
    episode_id = first_identifier(fields, "episode_id")
    interaction = interaction_of(
        request_id=request_id,
        application=application,
        time=_time(fields),
        messages=_conversation(fields.get("input")),
        response=_output(fields.get("output")),
        model=fields.get("variant_name"),
        session_id=episode_id,
        user_id=first_identifier(tags, "user_id"),
        latency_seconds=None if milliseconds is None else milliseconds / 1000,
        aliases=distinct_identifiers(episode_id, other_than=request_id),
    )
    return Reading([interaction], [])


def _read_metric(fields: dict[str, Any], application: str, *, is_boolean: bool) -> Reading:
    name, value = optional(fields, "metric_name", str), fields.get("value")
    if is_boolean and not isinstance(value, bool):
        if value not in (0, 1):
            raise UserError("value: must be true or false")
        value = bool(value)
    return _read_said(
        fields, _target(fields, application), name=name, value=value, is_graded=not is_boolean
    )


def _read_said(fields: dict[str, Any], target: Target, *, name: str | None, **said: Any) -> Reading:
    is_judged = any(key.startswith(_JUDGED) for key in (name or "", *_tags(fields)))
    return read_score(
        target,
        feedback_id=required_identifier(fields, "id"),
        name=name,
        is_human=not is_judged or said.keys().isdisjoint(("value",)),
        **said,
    )


def _target(fields: dict[str, Any], application: str) -> Target:
    target = required_identifier(fields, "target_id" if "target_id" in fields else "inference_id")
    is_episode = fields.get("target_type") == "episode"
    return Target(
        application=application,
        time=_time(fields),
        # A metric does not tell what it is about; an episode is an alias of its inferences.
        request_id=None if is_episode else target,
        session_id=target if is_episode else None,
        user_id=first_identifier(_tags(fields), "user_id"),
    )


def _time(fields: dict[str, Any]) -> datetime:
    """Return the time of a row: its timestamp, or what its id tells."""
    if fields.get("timestamp") is not None:
        return time_of(fields["timestamp"], "timestamp")
    try:
        found = uuid.UUID(required_identifier(fields, "id"))
    except ValueError:
        found = None
    if found is None or found.version != 7:
        raise UserError("timestamp: is missing, and the id is no UUID of version 7")
    return time_of(float(found.int >> 80), "id")


def _tags(fields: dict[str, Any]) -> dict[str, Any]:
    tags = unpacked(fields.get("tags"))
    return tags if isinstance(tags, dict) else {}


def _conversation(value: Any) -> Messages:
    value = unpacked(value)
    if not isinstance(value, dict):
        raise UserError("input: must be an object with messages")
    system = value.get("system")
    messages = [{"role": "system", "content": _block_text(system)}] if system else []
    for message in optional(value, "messages", list) or []:
        if isinstance(message, dict) and isinstance(message.get("role"), str):
            content = message.get("content")
            blocks = content if isinstance(content, list) else [content]
            text = "\n".join(filter(None, map(_block_text, blocks)))
            messages.append({"role": message["role"], "content": text})
    return messages


def _block_text(block: Any) -> str:
    """Return the text of a block; of a template the values of its variables, a line each."""
    if not isinstance(block, dict):
        return text_of(block)
    given = block.get("text", block.get("value"))
    if isinstance(given, str):
        return given
    variables = given if isinstance(given, dict) else block.get("arguments")
    if block.get("type", "text") not in ("text", "template") or block.get("name") == "tool":
        return ""
    if variables is None and "type" not in block:
        variables = block
    if not isinstance(variables, dict):
        return ""
    return "\n".join(f"{key}: {value}" for key, value in variables.items() if _is_plain(value))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _output(value: Any) -> str | None:
    value = unpacked(value)
    if isinstance(value, dict) and "raw" in value:  # of a function that answers in JSON
        return optional(value, "raw", str)
    return answer_of(value)
