from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import langsmith
from llm_assets.records import Feedback, Interaction
from tests.feedback.formats.examples import (
    ANSWER,
    LANGSMITH_FEEDBACK,
    LANGSMITH_RUN,
    QUESTION,
    SYSTEM,
)

CHAIN: dict[str, Any] = {
    **LANGSMITH_RUN,
    "id": "run-1",
    "parent_run_id": None,
    "run_type": "chain",
    "prompt_tokens": None,
    "completion_tokens": None,
    "total_tokens": None,
}


def read(fields: dict[str, Any]) -> Interaction:
    ((interaction,), problems, num_passed_over) = langsmith.read(fields, "hotel")
    assert isinstance(interaction, Interaction)
    assert (problems, num_passed_over) == ([], 0)
    return interaction


def said(**fields: Any) -> list[tuple[str, float | None, str | None]]:
    plain = {**LANGSMITH_FEEDBACK, "value": None, "comment": None, "correction": None}
    records = langsmith.read({**plain, **fields}, "hotel").records
    return [(r.kind.value, r.value, r.text) for r in records if isinstance(r, Feedback)]


def test_a_run_of_a_model_is_an_interaction() -> None:
    interaction = read(LANGSMITH_RUN)
    assert interaction.request_id == "run-2"
    assert interaction.aliases == ["run-1"]
    assert interaction.messages == [SYSTEM, QUESTION]
    assert interaction.response == ANSWER["content"]
    assert (interaction.model_version, interaction.user_id) == ("guest-model", "guest-4")
    assert (interaction.finish_reason, interaction.latency_seconds) == ("stop", 1.5)
    assert interaction.confidence == pytest.approx(0.8)
    assert (interaction.num_prompt_tokens, interaction.num_response_tokens) == (19, 6)


def test_the_session_is_the_thread_and_not_the_project() -> None:
    assert read(LANGSMITH_RUN).session_id == "stay-1"
    assert read({**LANGSMITH_RUN, "extra": {}}).session_id is None


@pytest.mark.parametrize(
    "start", [1772442000000, "2026-03-02T09:00:00", "2026-03-02T10:00:00+01:00"]
)
def test_times_are_iso_or_milliseconds(start: Any) -> None:
    run = {**LANGSMITH_RUN, "start_time": start}
    assert read(run).time.isoformat() == "2026-03-02T09:00:00+00:00"


def test_an_exported_run_may_name_its_id_run_id() -> None:
    run = {"run_id": "run-7", **{k: v for k, v in LANGSMITH_RUN.items() if k != "id"}}
    assert langsmith.recognises(run)
    assert read(run).request_id == "run-7"


def test_messages_of_langchain_are_read() -> None:
    run = {
        **LANGSMITH_RUN,
        "inputs": {
            "messages": [
                [
                    {
                        "id": ["langchain", "SystemMessage"],
                        "kwargs": {"content": SYSTEM["content"]},
                    },
                    {
                        "id": ["langchain", "HumanMessage"],
                        "kwargs": {"content": QUESTION["content"]},
                    },
                ]
            ]
        },
        "outputs": {
            "generations": [
                [{"message": {"id": ["x", "AIMessage"], "kwargs": {"content": ANSWER["content"]}}}]
            ]
        },
    }
    assert read(run).messages == [SYSTEM, QUESTION]
    assert read(run).response == ANSWER["content"]


def test_a_failed_run_is_an_interaction_that_failed() -> None:
    interaction = read({**LANGSMITH_RUN, "error": "timeout", "outputs": None})
    assert (interaction.status, interaction.response) == (500, "")


def test_a_root_run_alone_is_an_interaction() -> None:
    assert read(CHAIN).request_id == "run-1"


@pytest.mark.parametrize(
    "change",
    [
        {"child_run_ids": ["run-2"]},
        {"total_tokens": 25},
        {"parent_run_id": "run-0"},
        {"inputs": {"documents": []}},
        {"inputs": None},
    ],
)
def test_a_chain_around_a_model_is_passed_over(change: dict[str, Any]) -> None:
    assert langsmith.read({**CHAIN, **change}, "hotel") == ([], [], 1)


def test_a_tree_is_read_with_what_hangs_on_it() -> None:
    tool = {**CHAIN, "id": "run-3", "run_type": "tool", "parent_run_id": "run-1"}
    tree = {**CHAIN, "child_runs": [tool, LANGSMITH_RUN], "feedback": [LANGSMITH_FEEDBACK]}
    reading = langsmith.read(tree, "hotel")
    assert [record.record_id for record in reading.records] == [
        "said-1",
        "said-1-comment",
        "said-1-correction",
        "run-2",
    ]
    assert (reading.problems, reading.num_passed_over) == ([], 2)


def test_a_bad_run_of_a_tree_is_a_problem_and_the_others_are_kept() -> None:
    bad = {**LANGSMITH_RUN, "start_time": "Jane"}
    reading = langsmith.read({**CHAIN, "child_runs": [bad, LANGSMITH_RUN]}, "hotel")
    assert len(reading.records) == 1
    (problem,) = reading.problems
    assert problem.startswith("run of type llm: start_time: must be a time")
    assert "Jane" not in problem


@pytest.mark.parametrize(
    ("fields", "feedback"),
    [
        ({"score": 1}, ("thumb", 1, None)),
        ({"score": True}, ("thumb", 1, None)),
        ({"score": 0, "value": "down"}, ("thumb", -1, None)),
        ({"score": None, "value": "thumbs_up"}, ("thumb", 1, None)),
        ({"score": 0.25}, ("score", 0.25, None)),
        ({"score": 4, "key": "star_rating"}, ("rating", 4, None)),
        ({"score": None, "comment": "Wrong hours."}, ("comment", None, "Wrong hours.")),
        (
            {"score": None, "correction": {"desired": "At eight."}},
            ("correction", None, "At eight."),
        ),
        ({"score": 1, "feedback_source": {"type": "model"}}, ("score", 1, None)),
    ],
)
def test_feedback_is_read_by_what_it_says(
    fields: dict[str, Any], feedback: tuple[str, float | None, str | None]
) -> None:
    assert said(**fields) == [feedback]


def test_a_corrected_number_of_a_judge_is_no_answer() -> None:
    assert said(score=0.5, correction={"score": 1}) == [("score", 0.5, None)]


def test_feedback_on_a_project_is_passed_over() -> None:
    assert langsmith.read({**LANGSMITH_FEEDBACK, "run_id": None}, "hotel") == ([], [], 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**LANGSMITH_RUN, "id": None}, "id: must be an id"),
        ({**LANGSMITH_FEEDBACK, "id": "x" * 201}, "id: must be an id .* got a text of 201"),
        ({**LANGSMITH_FEEDBACK, "created_at": None}, "created_at: must be a time"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        langsmith.read(fields, "hotel")
