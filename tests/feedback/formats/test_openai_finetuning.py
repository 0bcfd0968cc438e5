from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import openai_finetuning
from llm_assets.feedback.formats.reading import UNDATED
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.feedback.formats.examples import ANSWER, OTHER, QUESTION, SYSTEM


def example(*answers: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [SYSTEM, QUESTION, *answers]}


def pair(**fields: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [SYSTEM, QUESTION], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [ANSWER],
        "non_preferred_output": [OTHER],
        **fields,
    }


def test_an_example_is_an_interaction_that_the_team_vouches_for() -> None:
    interaction, thumb = openai_finetuning.read(example(ANSWER), "hotel").records
    assert isinstance(interaction, Interaction)
    assert isinstance(thumb, Feedback)
    assert interaction.request_id.startswith("sft-")
    assert len(interaction.request_id) == len("sft-") + 16
    assert (interaction.prompt, interaction.response) == (QUESTION["content"], ANSWER["content"])
    assert interaction.messages == [SYSTEM, QUESTION]
    assert interaction.time == thumb.time == UNDATED
    assert thumb.feedback_id == f"{interaction.request_id}-thumb"
    assert (thumb.kind, thumb.value) == (FeedbackKind.THUMB, 1)
    assert thumb.request_id == interaction.request_id


def test_the_last_answer_of_several_turns_counts() -> None:
    more = {"role": "user", "content": "And lunch?"}
    interaction, _ = openai_finetuning.read(
        example(ANSWER, more, OTHER, {"role": "user", "content": "Thanks"}), "hotel"
    ).records
    assert isinstance(interaction, Interaction)
    assert (interaction.prompt, interaction.response) == ("And lunch?", OTHER["content"])
    assert interaction.messages == [SYSTEM, QUESTION, ANSWER, more]


@pytest.mark.parametrize(
    "fields", [example({**ANSWER, "weight": 0}), {**example(ANSWER), "weight": 0}]
)
def test_an_answer_of_weight_zero_is_context_that_nobody_vouches_for(
    fields: dict[str, Any],
) -> None:
    (interaction,) = openai_finetuning.read(fields, "hotel").records
    assert isinstance(interaction, Interaction)


def test_the_id_depends_on_the_content_alone() -> None:
    first, again, other = (
        openai_finetuning.read(example(answer), "hotel").records[0].record_id
        for answer in (ANSWER, {**ANSWER, "weight": 1, "name": "x"}, OTHER)
    )
    assert first == again
    assert first != other


def test_a_pair_is_an_interaction_with_the_preferred_answer() -> None:
    interaction, preference = openai_finetuning.read(pair(), "hotel").records
    assert isinstance(interaction, Interaction)
    assert isinstance(preference, Feedback)
    assert interaction.request_id.startswith("pref-")
    assert interaction.response == ANSWER["content"]
    assert preference.kind is FeedbackKind.PREFERENCE
    assert (preference.text, preference.rejected) == (ANSWER["content"], OTHER["content"])
    assert preference.request_id == interaction.request_id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "messages: must hold a message of the assistant"),
        ({"messages": [SYSTEM, QUESTION]}, "messages: must hold a message of the assistant"),
        ({"messages": [SYSTEM, ANSWER]}, "messages: must hold a user message with text"),
        ({"messages": "hello"}, "messages: must be of type list, got str"),
        (example({"role": "assistant", "content": None}), "the answer must have text"),
        (pair(input=None), "input: must be of type dict, got NoneType"),
        (pair(preferred_output=[]), "the answer must have text"),
        (pair(non_preferred_output=[]), "the rejected answer must have text"),
        (pair(non_preferred_output="no"), "non_preferred_output: must be of type list, got str"),
    ],
)
def test_an_example_that_teaches_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        openai_finetuning.read(fields, "hotel")
