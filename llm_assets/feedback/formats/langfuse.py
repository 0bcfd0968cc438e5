"""Langfuse exports: a trace with its observations and scores, and each of them on its own.

    {"trace": {…, "scores": […]}, "observations": […]}      download of a trace
    {"id": …, "timestamp": …, "observations": […], "scores": […]}     GET /api/public/traces/{id}
    {"id": …, "traceId": …, "type": "GENERATION", "startTime": …}     an observation
    {"id": …, "traceId": …, "name": …, "dataType": …, "value": …}     a score

The fields are those of `fern/apis/server/definition/commons.yml` and of the reference of the blob
storage export, which writes the same names with underscores. Inputs and outputs may be JSON in a
text. A generation is an interaction; a trace without one is an interaction itself if it holds a
conversation. Everything else of a trace is passed over.
"""

from typing import Any, NamedTuple

from llm_assets.errors import UserError
from llm_assets.feedback.formats.bodies import answer_of, conversation_of, finish_reason_of
from llm_assets.feedback.formats.json_text import unpacked
from llm_assets.feedback.formats.reading import (
    Parts,
    Reading,
    count_of,
    distinct_identifiers,
    first_identifier,
    identifier,
    interaction_of,
    optional,
    required_identifier,
    seconds_between,
    session_of,
    time_of,
)
from llm_assets.feedback.formats.scores import Target, read_score
from llm_assets.records import Interaction

_SCORE_VALUES = ("value", "stringValue", "dataType")
_TRACE_KEYS = ("userId", "sessionId", "htmlPath", "release")


class _Trace(NamedTuple):
    """What an observation inherits: from its trace, and from the observations around it."""

    fields: dict[str, Any]
    parents: dict[str, Any]

    def ancestors_of(self, observation: dict[str, Any]) -> list[Any]:
        found: list[Any] = []
        parent = identifier(observation.get("parentObservationId"))
        while parent is not None and parent not in found:
            found.append(parent)
            parent = identifier(self.parents.get(parent))
        return found


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a trace, an observation, or a score of Langfuse."""
    return _kind(_camel(fields)) is not None


def _kind(fields: dict[str, Any]) -> str | None:
    if isinstance(fields.get("trace"), dict) and isinstance(fields.get("observations"), list):
        return "export"
    if "traceId" in fields and "startTime" in fields and "type" in fields:
        return "observation"
    is_about = "traceId" in fields or "sessionId" in fields or "subject" in fields
    if is_about and "name" in fields and any(key in fields for key in _SCORE_VALUES):
        return "score"
    is_trace = "id" in fields and "timestamp" in fields and any(k in fields for k in _TRACE_KEYS)
    return "trace" if is_trace and ("input" in fields or "observations" in fields) else None


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interactions and the feedback.

    Raises:
        UserError: the object is none of Langfuse's, or a part of its own breaks a rule.
    """
    fields = _camel(fields)
    kind = _kind(fields)
    if kind == "observation":
        return _read_observation(fields, _Trace({}, {}), application)
    if kind == "score":
        return _read_score(fields, application)
    if kind is None:
        raise UserError("is no trace, observation, or score of Langfuse")
    return _read_trace(fields, fields["trace"] if kind == "export" else fields, application)


def _read_trace(fields: dict[str, Any], trace: dict[str, Any], application: str) -> Reading:
    trace = _camel(trace)
    # A list of traces names its observations by their ids only.
    observations = [
        _camel(value)
        for value in optional(fields, "observations", list) or []
        if isinstance(value, dict)
    ]
    parents = {
        found: observation.get("parentObservationId")
        for observation in observations
        if (found := identifier(observation.get("id")))
    }
    parts = Parts()
    around = _Trace(trace, parents)
    for place, observation in enumerate(observations):
        with parts.part(f"observations.{place}"):
            parts.add(
                _read_observation({"traceId": trace.get("id"), **observation}, around, application)
            )
    if not (parts.records or parts.problems):
        with parts.part("trace"):
            parts.add(_read_bare_trace(trace, application))
    inherited = {"traceId": trace.get("id"), "userId": trace.get("userId")}
    for owner in [fields] if trace is fields else [trace, fields]:
        for place, score in enumerate(optional(owner, "scores", list) or []):
            if isinstance(score, dict):
                with parts.part(f"scores.{place}"):
                    score = {**inherited, **_camel(score)}
                    parts.add(_read_score(score, application))
    return parts.reading()


def _read_observation(observation: dict[str, Any], trace: _Trace, application: str) -> Reading:
    if observation.get("type") != "GENERATION" or not observation.get("input"):
        return Reading([], [], 1)
    request_id = required_identifier(observation, "id")
    usage = unpacked(observation.get("usageDetails") or observation.get("usage"))
    usage = usage if isinstance(usage, dict) else {}
    time = time_of(observation.get("startTime"), "startTime")
    interaction = _interaction(
        observation,
        application,
        request_id=request_id,
        time=time,
        model=observation.get("model") or observation.get("providedModelName"),
        session_id=session_of(observation, trace.fields),
        user_id=first_identifier({**trace.fields, **observation}, "userId"),
        latency_seconds=seconds_between(time, observation.get("endTime")),
        num_prompt_tokens=count_of(usage.get("input", observation.get("promptTokens"))),
        num_response_tokens=count_of(usage.get("output", observation.get("completionTokens"))),
        aliases=distinct_identifiers(
            *trace.ancestors_of(observation), observation.get("traceId"), other_than=request_id
        ),
    )
    return Reading([interaction], [])


def _read_bare_trace(trace: dict[str, Any], application: str) -> Reading:
    if not conversation_of(trace.get("input")) or trace.get("output") is None:
        return Reading([], [], 1)
    interaction = _interaction(
        trace,
        application,
        request_id=required_identifier(trace, "id"),
        time=time_of(trace.get("timestamp"), "timestamp"),
        session_id=session_of(trace),
        user_id=first_identifier(trace, "userId"),
    )
    return Reading([interaction], [])


def _interaction(fields: dict[str, Any], application: str, **more: Any) -> Interaction:
    output = fields.get("output")
    return interaction_of(
        application=application,
        messages=conversation_of(fields.get("input")),
        response=answer_of(output),
        finish_reason=finish_reason_of(output),
        status=500 if fields.get("level") == "ERROR" else 200,
        **more,
    )


def _read_score(score: dict[str, Any], application: str) -> Reading:
    subject = score.get("subject")  # the scores of API version 3 say so what they are about
    about = {**score, **_about(subject)} if isinstance(subject, dict) else score
    kind, text = score.get("dataType"), score.get("stringValue")
    value = score.get("value")
    if kind == "BOOLEAN" and value in (0, 1):
        value = bool(value)
    is_text = kind in ("CATEGORICAL", "TEXT", "CORRECTION")
    wanted = text if text is not None else value
    request_id = first_identifier(about, "observationId", "traceId")
    is_annotation = score.get("source") == "ANNOTATION"
    target = Target(
        application=application,
        time=time_of(
            score.get("timestamp") or score.get("createdAt") or score.get("updatedAt"), "timestamp"
        ),
        request_id=request_id,
        session_id=identifier(about.get("sessionId")),
        # The user of the trace scores through the API, a colleague in the annotation's form.
        user_id=first_identifier(score, "authorUserId" if is_annotation else "userId"),
    )
    return read_score(
        target,
        feedback_id=required_identifier(score, "id"),
        name=optional(score, "name", str),
        value=None if is_text and isinstance(wanted, str) else value,
        label=None if kind == "CORRECTION" else text or (value if is_text else None),
        comment=score.get("comment"),
        correction=wanted if kind == "CORRECTION" and isinstance(wanted, str) else None,
        is_human=score.get("source") != "EVAL",
    )


def _about(subject: dict[str, Any]) -> dict[str, Any]:
    key = {"trace": "traceId", "observation": "observationId", "session": "sessionId"}
    kind = subject.get("kind", subject.get("type"))
    named = {key[kind]: subject.get("id")} if isinstance(kind, str) and kind in key else {}
    return {**named, **subject}


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the blob storage export, with underscores, under the API's names."""
    if "project_id" not in fields and "parent_observation_id" not in fields:
        return fields
    return {_camel_name(key): value for key, value in fields.items()}


def _camel_name(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)
