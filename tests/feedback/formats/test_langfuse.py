import json
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import langfuse
from llm_assets.records import Feedback, Interaction
from tests.feedback.formats.examples import (
    ANSWER,
    LANGFUSE_EXPORT,
    LANGFUSE_GENERATION,
    LANGFUSE_SCORE,
    QUESTION,
    SYSTEM,
    TIME,
)

TRACE = LANGFUSE_EXPORT["trace"]
FLAT = {**TRACE, "observations": LANGFUSE_EXPORT["observations"]}


def read_score(**fields: Any) -> list[tuple[str, float | None, str | None]]:
    reading = langfuse.read({**LANGFUSE_SCORE, "comment": None, **fields}, "hotel")
    assert reading.problems == []
    return [(r.kind.value, r.value, r.text) for r in reading.records if isinstance(r, Feedback)]


@pytest.mark.parametrize("export", [LANGFUSE_EXPORT, FLAT])
def test_a_generation_of_a_trace_is_an_interaction(export: dict[str, Any]) -> None:
    reading = langfuse.read(export, "hotel")
    interaction, thumb, comment = reading.records
    assert isinstance(interaction, Interaction)
    assert interaction.request_id == "gen-1"
    # Feedback may speak of the span around it and of the trace.
    assert interaction.aliases == ["span-1", "trace-1"]
    assert (interaction.session_id, interaction.user_id) == ("stay-1", "guest-4")
    assert interaction.messages == [SYSTEM, QUESTION]
    assert interaction.response == ANSWER["content"]
    assert (interaction.model_version, interaction.status) == ("guest-model", 200)
    assert interaction.latency_seconds == 2
    assert (interaction.num_prompt_tokens, interaction.num_response_tokens) == (19, 6)
    assert isinstance(thumb, Feedback)
    assert (thumb.feedback_id, thumb.request_id, thumb.value) == ("score-1", "gen-1", -1)
    assert thumb.user_id == "guest-4"
    assert isinstance(comment, Feedback)
    assert (comment.feedback_id, comment.text) == ("score-1-comment", "Wrong hours.")
    assert (reading.problems, reading.num_passed_over) == ([], 1)  # the span


def test_a_trace_without_a_generation_is_an_interaction_itself() -> None:
    interaction, *_ = langfuse.read(TRACE, "hotel").records
    assert isinstance(interaction, Interaction)
    assert interaction.request_id == "trace-1"
    assert (interaction.prompt, interaction.response) == (QUESTION["content"], ANSWER["content"])


def test_a_trace_without_a_conversation_is_passed_over() -> None:
    reading = langfuse.read({**TRACE, "input": {"job": 1}, "scores": []}, "hotel")
    assert reading == ([], [], 1)


def test_a_list_of_traces_names_observations_and_scores_by_their_ids() -> None:
    fields = {**TRACE, "observations": ["gen-1"], "scores": ["score-1"]}
    assert len(langfuse.read(fields, "hotel").records) == 1


@pytest.mark.parametrize("change", [{"type": "SPAN"}, {"type": "TOOL"}, {"input": None}])
def test_an_observation_that_is_no_call_of_a_model_is_passed_over(change: dict[str, Any]) -> None:
    assert langfuse.read({**LANGFUSE_GENERATION, **change}, "hotel") == ([], [], 1)


def test_an_error_is_an_interaction_that_failed() -> None:
    fields = {**LANGFUSE_GENERATION, "level": "ERROR", "output": None}
    (interaction,) = langfuse.read(fields, "hotel").records
    assert isinstance(interaction, Interaction)
    assert (interaction.status, interaction.response) == (500, "")


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ({"dataType": "BOOLEAN", "value": 1, "stringValue": "True"}, ("thumb", 1, None)),
        ({"dataType": "NUMERIC", "value": 1, "stringValue": None}, ("thumb", 1, None)),
        ({"dataType": "NUMERIC", "value": 0.3, "stringValue": None}, ("score", 0.3, None)),
        (
            {"dataType": "NUMERIC", "value": 4, "name": "stars", "stringValue": None},
            ("rating", 4, None),
        ),
        ({"dataType": "CATEGORICAL", "value": 0, "stringValue": "bad"}, ("thumb", -1, None)),
        ({"dataType": "CATEGORICAL", "value": "food"}, ("comment", None, "food")),
        ({"dataType": "TEXT", "value": 0, "stringValue": "Hm."}, ("comment", None, "Hm.")),
        (
            {"dataType": "CORRECTION", "value": 0, "stringValue": "At eight."},
            ("correction", None, "At eight."),
        ),
        ({"source": "EVAL", "value": 0, "stringValue": "False"}, ("score", 0, None)),
        ({"source": "EVAL", "dataType": "NUMERIC", "value": 4.0}, ("score", 4, None)),
    ],
)
def test_a_score_is_read_by_its_type_and_its_source(
    score: dict[str, Any], said: tuple[str, float | None, str | None]
) -> None:
    if "stringValue" not in score:
        score = {**score, "stringValue": None}
    assert read_score(**score) == [said]


@pytest.mark.parametrize(
    ("about", "request_id", "session_id"),
    [
        ({"observationId": "gen-1", "traceId": "trace-1"}, "gen-1", None),
        ({"observationId": None, "traceId": "trace-1"}, "trace-1", None),
        ({"observationId": None, "traceId": None, "sessionId": "stay-1"}, None, "stay-1"),
        (
            {
                "observationId": None,
                "traceId": None,
                "subject": {"kind": "observation", "id": "gen-1", "traceId": "trace-1"},
            },
            "gen-1",
            None,
        ),
    ],
)
def test_a_score_speaks_of_an_observation_a_trace_or_a_session(
    about: dict[str, Any], request_id: str | None, session_id: str | None
) -> None:
    first, *_ = langfuse.read({**LANGFUSE_SCORE, **about}, "hotel").records
    assert isinstance(first, Feedback)
    assert (first.request_id, first.session_id) == (request_id, session_id)


def test_an_annotation_is_of_the_colleague_who_made_it() -> None:
    fields = {**LANGFUSE_SCORE, "source": "ANNOTATION", "authorUserId": "clerk-2"}
    export = {**LANGFUSE_EXPORT, "trace": {**TRACE, "scores": [fields]}}
    _, thumb, _ = langfuse.read(export, "hotel").records
    assert thumb.user_id == "clerk-2"


def test_the_blob_storage_export_has_the_same_fields_with_underscores() -> None:
    observation = {
        "id": "gen-1",
        "project_id": "p",
        "trace_id": "trace-1",
        "parent_observation_id": "span-1",
        "type": "GENERATION",
        "start_time": "2026-03-02 09:00:00.000000",
        "end_time": "2026-03-02 09:00:02.000000",
        "provided_model_name": "guest-model",
        "input": json.dumps({"messages": [SYSTEM, QUESTION]}),
        "output": ANSWER["content"],
        "usage_details": {"input": 19, "output": 6},
        "user_id": "guest-4",
        "session_id": "stay-1",
    }
    assert langfuse.recognises(observation)
    (interaction,) = langfuse.read(observation, "hotel").records
    (expected, *_) = langfuse.read(LANGFUSE_EXPORT, "hotel").records
    assert interaction == expected
    score = {
        "id": "score-1",
        "project_id": "p",
        "trace_id": "trace-1",
        "observation_id": None,
        "name": "helpful",
        "data_type": "BOOLEAN",
        "value": 0,
        "string_value": "False",
        "source": "API",
        "timestamp": "2026-03-02 09:05:00.000000",
    }
    assert langfuse.recognises(score)
    (thumb,) = langfuse.read(score, "hotel").records
    assert isinstance(thumb, Feedback)
    assert (thumb.request_id, thumb.value) == ("trace-1", -1)


def test_a_bad_part_is_a_problem_and_the_others_are_kept() -> None:
    bad = {**LANGFUSE_SCORE, "timestamp": "noon, as Jane said"}
    nameless = {**LANGFUSE_GENERATION, "id": ""}
    export = {
        "trace": {**TRACE, "scores": [bad, LANGFUSE_SCORE]},
        "observations": [nameless, LANGFUSE_GENERATION],
    }
    reading = langfuse.read(export, "hotel")
    assert len(reading.records) == 3
    assert reading.problems == [
        "observations.0: id: must be an id of 1 to 200 characters, got a text of 0 characters",
        "scores.0: timestamp: must be a time (ISO 8601 or since 1970), got a text of 18 characters",
    ]


@pytest.mark.parametrize("fields", [{}, {"id": "x", "name": "y"}, {"trace": [], "observations": 1}])
def test_what_is_none_of_them_is_not_read(fields: dict[str, Any]) -> None:
    assert not langfuse.recognises(fields)
    with pytest.raises(UserError, match="is no trace, observation, or score of Langfuse"):
        langfuse.read(fields, "hotel")


def test_ancestors_in_a_circle_come_to_an_end() -> None:
    spans = [
        {"id": f"s{place}", "type": "SPAN", "startTime": TIME, "parentObservationId": f"s{parent}"}
        for place, parent in ((1, 2), (2, 1))
    ]
    generation = {**LANGFUSE_GENERATION, "parentObservationId": "s1"}
    reading = langfuse.read({"trace": TRACE, "observations": [*spans, generation]}, "hotel")
    assert isinstance(reading.records[0], Interaction)
    assert reading.records[0].aliases == ["s1", "s2", "trace-1"]
