from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from llm_assets.demo.drift import APPLICATION, conversation_records
from llm_assets.records import Feedback, Interaction

END = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)


def turn(sender: str, time: str, *texts: str) -> list[dict[str, str]]:
    return [{"sender": sender, "timestamp": time, "text": text} for text in texts]


@pytest.fixture
def conversations() -> dict[str, Any]:
    return {
        "c1": {
            "messages": [
                turn("ann", "2018-04-01T10:00:00+00:00", "hi"),
                turn("bob", "2018-04-01T10:01:00+00:00", "hello"),
                [],
                turn("ann", "2018-04-01T10:02:00+00:00", "do you", "like tennis"),
                turn("bob", "2018-04-01T10:03:00+00:00", "yes"),
                turn("ann", "2018-04-03T10:00:00+00:00", "good"),
            ],
            "ratings": {"ann": 10, "bob": 4},
        },
        "greeting only": {
            "messages": [turn("eve", "2018-04-02T10:00:00+00:00", "hi")],
            "ratings": {"eve": 1},
        },
    }


def records(conversations: dict[str, Any]) -> tuple[list[Interaction], list[Feedback]]:
    found = list(conversation_records(conversations, end=END))
    return (
        [record for record in found if isinstance(record, Interaction)],
        [record for record in found if isinstance(record, Feedback)],
    )


def test_the_exchange_after_the_greetings_is_kept(conversations: dict[str, Any]) -> None:
    ((interaction,), _) = records(conversations)
    assert interaction.application == APPLICATION
    assert (interaction.prompt, interaction.response) == ("do you like tennis", "yes")
    assert (interaction.session_id, interaction.user_id) == ("c1", "ann")
    assert interaction.model_version == f"{APPLICATION}-v0001"


def test_the_days_are_shifted_so_that_the_newest_is_the_last(
    conversations: dict[str, Any],
) -> None:
    ((interaction,), _) = records(conversations)
    before_the_newest = timedelta(days=1, hours=23, minutes=58)
    assert interaction.time == END - before_the_newest
    assert interaction.date == date(2026, 3, 18)


@pytest.mark.parametrize(
    ("ratings", "value"), [({"a": 10, "b": 4}, 3.5), ({"a": 1}, 1.0), ({"a": 10}, 5.0)]
)
def test_ratings_of_ten_become_one_of_five(
    conversations: dict[str, Any], ratings: dict[str, int], value: float
) -> None:
    conversations["c1"]["ratings"] = ratings
    ((interaction,), (rating,)) = records(conversations)
    assert (rating.kind, rating.value) == ("rating", value)
    assert rating.request_id == interaction.request_id
    assert rating.time > interaction.time


@pytest.mark.parametrize("has_key", [True, False])
def test_a_conversation_without_ratings_has_none(
    conversations: dict[str, Any], has_key: bool
) -> None:
    conversations["c1"]["ratings"] = {}
    if not has_key:
        del conversations["c1"]["ratings"]
    assert len(records(conversations)[0]) == 1
    assert records(conversations)[1] == []


def test_the_same_conversations_are_the_same_records(conversations: dict[str, Any]) -> None:
    assert records(conversations) == records(conversations)
