import copy
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import open_webui
from llm_assets.records import Feedback, FeedbackKind, Interaction
from tests.feedback.formats.examples import ANSWER, OPEN_WEBUI, OTHER, QUESTION


def feedback_with(**messages: dict[str, Any]) -> dict[str, Any]:
    fields = copy.deepcopy(OPEN_WEBUI)
    fields["snapshot"]["chat"]["chat"]["history"]["messages"] |= messages
    return fields


def said(fields: dict[str, Any]) -> list[Feedback]:
    reading = open_webui.read(fields, "hotel")
    assert reading.problems == []
    return [record for record in reading.records if isinstance(record, Feedback)]


def test_the_rated_message_is_an_interaction() -> None:
    interaction = open_webui.read(OPEN_WEBUI, "hotel").records[0]
    assert isinstance(interaction, Interaction)
    assert interaction.request_id == "m-2"
    assert (interaction.session_id, interaction.user_id) == ("stay-1", "guest-4")
    assert interaction.messages == [QUESTION]
    assert interaction.response == ANSWER["content"]
    assert interaction.model_version == "guest-model"
    assert interaction.time.isoformat() == "2026-03-02T09:00:00+00:00"


def test_only_the_branch_that_leads_to_the_message_is_its_conversation() -> None:
    fields = feedback_with(
        **{
            "m-0": {"id": "m-0", "parentId": None, "role": "user", "content": "Hello"},
            "m-00": {"id": "m-00", "parentId": "m-0", "role": "assistant", "content": "Hi"},
            "m-1": {"id": "m-1", "parentId": "m-00", **QUESTION},
            "m-9": {"id": "m-9", "parentId": "m-0", "role": "user", "content": "elsewhere"},
        }
    )
    interaction = open_webui.read(fields, "hotel").records[0]
    assert isinstance(interaction, Interaction)
    assert [message["content"] for message in interaction.messages] == [
        "Hello",
        "Hi",
        QUESTION["content"],
    ]


def test_thumb_comment_and_detailed_rating_are_feedback() -> None:
    feedback = said(OPEN_WEBUI)
    assert [(r.feedback_id, r.kind, r.value, r.text) for r in feedback] == [
        ("f-1", "thumb", -1, None),
        ("f-1-comment", "comment", None, "Wrong hours."),
        ("f-1-details", "score", 3, None),
    ]
    assert {record.request_id for record in feedback} == {"m-2"}
    assert {record.name for record in feedback} == {"not_factually_correct", "of_ten"}


@pytest.mark.parametrize(("rating", "thumb"), [("1", 1), (1, 1), ("-1", -1), (-1, -1)])
def test_the_rating_may_be_a_text(rating: Any, thumb: int) -> None:
    assert said({**OPEN_WEBUI, "data": {"rating": rating}})[0].value == thumb


def test_a_reason_stands_for_a_comment() -> None:
    data = {"rating": None, "reason": "too_verbose", "comment": ""}
    (comment,) = said({**OPEN_WEBUI, "data": data})
    assert (comment.feedback_id, comment.kind, comment.text) == ("f-1", "comment", "too_verbose")


@pytest.mark.parametrize("snapshot", [None, {}, {"chat": {"chat": {"history": {"messages": {}}}}}])
def test_feedback_without_its_chat_is_kept(snapshot: Any) -> None:
    reading = open_webui.read({**OPEN_WEBUI, "snapshot": snapshot}, "hotel")
    assert [type(record) for record in reading.records] == [Feedback] * 3
    assert reading.problems == []


def test_an_answer_that_the_user_edited_is_a_correction() -> None:
    answer = OPEN_WEBUI["snapshot"]["chat"]["chat"]["history"]["messages"]["m-2"]
    edited = {**answer, "content": "From eight.", "originalContent": ANSWER["content"]}
    reading = open_webui.read(feedback_with(**{"m-2": edited}), "hotel")
    interaction, *_, correction = reading.records
    assert isinstance(interaction, Interaction)
    assert isinstance(correction, Feedback)
    assert interaction.response == ANSWER["content"]
    assert correction.kind is FeedbackKind.CORRECTION
    assert (correction.feedback_id, correction.text) == ("f-1-correction", "From eight.")


@pytest.mark.parametrize(("rating", "chosen"), [(1, ANSWER), (-1, OTHER)])
def test_a_rating_in_the_arena_prefers_one_of_two_answers(
    rating: int, chosen: dict[str, str]
) -> None:
    fields = feedback_with(**{"m-3": {"id": "m-3", "parentId": "m-1", **OTHER}})
    fields["data"] = {"rating": rating, "model_id": "guest-model"}
    fields["meta"]["arena"] = True
    preference = said(fields)[-1]
    assert preference.kind is FeedbackKind.PREFERENCE
    assert preference.feedback_id == "f-1-preference"
    assert preference.text == chosen["content"]
    assert {preference.text, preference.rejected} == {ANSWER["content"], OTHER["content"]}


def test_of_three_answers_it_is_not_known_which_was_worse() -> None:
    others = {key: {"id": key, "parentId": "m-1", **OTHER} for key in ("m-3", "m-4")}
    fields = feedback_with(**others)
    fields["meta"]["arena"] = True
    assert all(record.kind is not FeedbackKind.PREFERENCE for record in said(fields))


def test_feedback_of_another_type_is_passed_over() -> None:
    assert open_webui.read({**OPEN_WEBUI, "type": "poll"}, "hotel") == ([], [], 1)


def test_a_chat_that_cannot_be_read_is_a_problem_and_the_feedback_is_kept() -> None:
    fields = feedback_with(**{"m-1": {"id": "m-1", "parentId": "m-2", **QUESTION, "role": 7}})
    reading = open_webui.read(fields, "hotel")
    assert [type(record) for record in reading.records] == [Feedback] * 3
    assert reading.problems == ["snapshot: messages: must hold a user message with text"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "id: must be an id"),
        ({"meta": {}}, "message_id: must be an id"),
        ({"created_at": None, "updated_at": None}, "created_at: must be a time"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_webui.read({**OPEN_WEBUI, **change}, "hotel")
