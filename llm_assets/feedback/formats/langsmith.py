"""LangSmith's runs and feedback.

    {"id": …, "trace_id": …, "run_type": "llm", "inputs": {…}, "outputs": {…}, "start_time": …}
    {"id": …, "run_id": …, "key": "user_thumb", "score": 0, "comment": …, "correction": {…}}

The fields are those of `RunBase`, `Run`, and `FeedbackBase` in `langsmith/schemas.py`; exports of
traces name a run's id `run_id`. Times are ISO 8601 or milliseconds since 1970. `session_id` is the
project there, so the conversation comes from the metadata.

The run of the model is the interaction, and the chain around it is passed over. A root run of
another type is an interaction only where nothing tells of a model's run below it: no children, and
no tokens counted.
"""

from collections.abc import Iterator
from typing import Any

from llm_assets.feedback.formats.bodies import (
    answer_of,
    confidence_of_response,
    conversation_of,
    finish_reason_of,
)
from llm_assets.feedback.formats.reading import (
    Parts,
    Reading,
    count_of,
    distinct_identifiers,
    first_identifier,
    interaction_of,
    optional,
    required_identifier,
    seconds_between,
    session_of,
    time_of,
)
from llm_assets.feedback.formats.scores import Target, read_score

_MODEL_RUNS = ("llm", "chat", "chat_model")
_SAYS = ("score", "value", "comment", "correction")
_JUDGES = ("model", "auto_eval", "evaluator")


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a run or feedback on one."""
    is_feedback = "run_id" in fields and "key" in fields and any(key in fields for key in _SAYS)
    return is_feedback or ("run_type" in fields and "inputs" in fields)


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interactions of a run and of those below it, or the feedback.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    if "run_type" not in fields:
        return _read_feedback(fields, application)
    if not fields.get("child_runs") and not fields.get("feedback"):
        return _read_run(fields, application)
    parts = Parts()
    for run in _tree(fields):
        name = run.get("run_type")
        with parts.part(f"run of type {name if name in _MODEL_RUNS else 'chain'}"):
            parts.add(_read_run(run, application))
        for place, said in enumerate(optional(run, "feedback", list) or []):
            if isinstance(said, dict):
                with parts.part(f"feedback.{place}"):
                    parts.add(_read_feedback({"run_id": run.get("id"), **said}, application))
    return parts.reading()


def _tree(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting: list[Any] = [root]
    while waiting:
        run = waiting.pop()
        if isinstance(run, dict):
            yield run
            waiting += reversed(optional(run, "child_runs", list) or [])


def _read_run(run: dict[str, Any], application: str) -> Reading:
    messages = conversation_of(run.get("inputs"))
    if not messages or not (run.get("run_type") in _MODEL_RUNS or _is_alone(run)):
        return Reading([], [], 1)
    outputs = run.get("outputs")
    time = time_of(run.get("start_time"), "start_time")
    extra = _object(run, "extra")
    metadata, invocation = _object(extra, "metadata"), _object(extra, "invocation_params")
    request_id = required_identifier(run, "id" if "id" in run else "run_id")
    model = metadata.get("ls_model_name") or invocation.get("model") or invocation.get("model_name")
    interaction = interaction_of(
        request_id=request_id,
        application=application,
        time=time,
        messages=messages,
        response=answer_of(outputs),
        model=model,
        session_id=session_of(metadata),
        user_id=first_identifier(metadata, "user_id", "user"),
        status=500 if run.get("error") else 200,
        finish_reason=finish_reason_of(outputs),
        confidence=confidence_of_response(outputs),
        latency_seconds=seconds_between(time, run.get("end_time")),
        num_prompt_tokens=count_of(run.get("prompt_tokens")),
        num_response_tokens=count_of(run.get("completion_tokens")),
        aliases=distinct_identifiers(
            run.get("parent_run_id"),
            *(optional(run, "parent_run_ids", list) or []),
            run.get("trace_id"),
            other_than=request_id,
        ),
    )
    return Reading([interaction], [])


def _is_alone(run: dict[str, Any]) -> bool:
    below = ("parent_run_id", "child_runs", "child_run_ids", "total_tokens", "prompt_tokens")
    return not any(run.get(key) for key in below)


def _read_feedback(fields: dict[str, Any], application: str) -> Reading:
    feedback_id = required_identifier(fields, "id")
    if fields.get("run_id") is None and fields.get("trace_id") is None:
        return Reading([], [], 1)  # about a project or an experiment as a whole
    source = _object(fields, "feedback_source")
    value = fields.get("value")
    score = fields.get("score")
    target = Target(
        application=application,
        time=time_of(fields.get("created_at") or fields.get("modified_at"), "created_at"),
        request_id=required_identifier(fields, "run_id", "trace_id"),
        user_id=first_identifier(source, "user_id"),
    )
    return read_score(
        target,
        feedback_id=feedback_id,
        name=optional(fields, "key", str),
        value=value if score is None else score,
        label=value,
        comment=fields.get("comment"),
        correction=_wanted(fields.get("correction")),
        is_human=source.get("type") not in _JUDGES,
    )


def _wanted(correction: Any) -> Any:
    """Return the text of a correction under whatever key; a corrected number is no answer."""
    if isinstance(correction, dict) and len(correction) == 1:
        (only,) = correction.values()
        return only if isinstance(only, str) else correction
    return correction


def _object(fields: dict[str, Any], key: str) -> dict[str, Any]:
    return optional(fields, key, dict) or {}
