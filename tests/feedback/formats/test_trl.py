from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import trl
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.feedback.formats.examples import ANSWER, OTHER, QUESTION, SYSTEM

ASKED, SAID, ELSE = QUESTION["content"], ANSWER["content"], OTHER["content"]
TALK = [SYSTEM, QUESTION]


def read(**fields: Any) -> tuple[Interaction, Feedback]:
    assert trl.recognises(fields)
    interaction, feedback = trl.read(fields, "hotel").records
    assert isinstance(interaction, Interaction)
    assert isinstance(feedback, Feedback)
    assert feedback.request_id == interaction.request_id
    return interaction, feedback


@pytest.mark.parametrize(("label", "thumb"), [(True, 1), (False, -1)])
@pytest.mark.parametrize(("prompt", "completion"), [(TALK, [ANSWER]), (ASKED, SAID)])
def test_a_label_is_a_thumb(prompt: Any, completion: Any, label: bool, thumb: int) -> None:
    interaction, feedback = read(prompt=prompt, completion=completion, label=label)
    assert (interaction.prompt, interaction.response) == (ASKED, SAID)
    assert interaction.messages == (TALK if prompt is TALK else [QUESTION])
    assert (feedback.kind, feedback.value) == (FeedbackKind.THUMB, thumb)


def test_an_example_without_a_label_was_put_there_to_be_learnt() -> None:
    interaction, feedback = read(prompt=ASKED, completion=SAID)
    assert interaction.request_id.startswith("sft-")
    assert feedback.value == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": TALK, "chosen": [ANSWER], "rejected": [OTHER]},
        {"prompt": TALK, "chosen": SAID, "rejected": ELSE},
        {"chosen": [*TALK, ANSWER], "rejected": [*TALK, OTHER]},
    ],
)
def test_a_pair_is_a_preference_whether_its_prompt_is_explicit_or_not(
    fields: dict[str, Any],
) -> None:
    interaction, feedback = read(**fields)
    assert interaction.messages == TALK
    assert interaction.response == SAID
    assert feedback.kind is FeedbackKind.PREFERENCE
    assert (feedback.text, feedback.rejected) == (SAID, ELSE)


def test_a_plain_text_is_taken_as_it_stands() -> None:
    interaction, _ = read(prompt='{"question": "x"}', completion='{"answer": "y"}', label=True)
    assert (interaction.prompt, interaction.response) == ('{"question": "x"}', '{"answer": "y"}')


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ASKED, "completion": "", "label": True}, "the answer must have text"),
        ({"prompt": "", "completion": SAID, "label": True}, "must hold a user message"),
        ({"prompt": ASKED, "completion": SAID, "label": 1}, "label: must be of type bool, got int"),
        ({"prompt": ASKED, "chosen": SAID, "rejected": " "}, "the rejected answer must have text"),
        ({"chosen": SAID, "rejected": ELSE}, "must hold a user message"),
        ({"chosen": [ANSWER], "rejected": [ANSWER]}, "must have text"),
    ],
)
def test_an_example_that_teaches_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trl.read(fields, "hotel")
