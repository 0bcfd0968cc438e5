"""OpenInference's annotations and evaluations that stand among the attributes of a span.

    {"annotations.0.annotation.name": "user_thumb", "annotations.0.annotation.score": 1, …}

They speak of the span, of its trace (`trace.annotations.0…`), or of its session.
"""

from typing import Any

from llm_assets.feedback.formats.conventions import numbered
from llm_assets.feedback.formats.reading import Parts, Reading, digest, identifier
from llm_assets.feedback.formats.scores import Target, read_score
from llm_assets.feedback.formats.telemetry import Span, time_of_ns

_SCOPES = ("", "trace.", "session.")
_TERMS = ("annotation", "evaluation")
_PREFIXES = tuple(f"{scope}{term}s." for scope in _SCOPES for term in _TERMS)


def has_annotations(attributes: dict[str, Any]) -> bool:
    """Say whether there is any among the attributes."""
    for key in attributes:  # noqa: SIM110 - of every span, and this is twice as fast as any()
        if key.startswith(_PREFIXES):
            return True
    return False


def read_annotations(span: Span, request_id: str | None, application: str) -> Reading:
    """Return the feedback among a span's attributes; `request_id` is what the span stands for."""
    parts = Parts()
    session_id = identifier(span.attributes.get("session.id"))
    for scope in _SCOPES:
        target = Target(
            application,
            time_of_ns(span.end_ns or span.start_ns, "endTimeUnixNano"),
            request_id={"": request_id, "trace.": span.trace_id or None, "session.": None}[scope],
            session_id=session_id,
        )
        for term in _TERMS:
            for fields in numbered(span.attributes, f"{scope}{term}s."):
                with parts.part(f"{scope}{term}s"):
                    parts.add(_annotation(fields, f"{term}.", target, span))
    return parts.reading()


def _annotation(fields: dict[str, Any], prefix: str, target: Target, span: Span) -> Reading:
    said = {key.removeprefix(prefix): value for key, value in fields.items()}
    name, key = identifier(said.get("name")), identifier(said.get("identifier"))
    value, label = said.get("score"), said.get("label")
    told = [item if isinstance(item, str | int | float) else None for item in (value, label)]
    return read_score(
        target,
        feedback_id="annotation-"
        + digest(span.trace_id, span.span_id, target.request_id, name, key, *told),
        name=name,
        value=value,
        label=label,
        comment=said.get("explanation"),
        is_human=said.get("annotator_kind") == "HUMAN",
    )
