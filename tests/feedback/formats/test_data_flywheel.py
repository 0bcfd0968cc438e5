from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import data_flywheel, openai_chat
from llm_assets.records import Interaction
from tests.feedback.formats.examples import EXAMPLES

(RECORD,) = EXAMPLES["data-flywheel"]


def test_a_record_is_an_interaction_at_its_time() -> None:
    reading = data_flywheel.read({**RECORD, "timestamp": 1772442007}, "hotel")
    (interaction,) = reading.records
    assert isinstance(interaction, Interaction)
    assert interaction.time.isoformat() == "2026-03-02T09:00:07+00:00"
    assert (interaction.request_id, interaction.response) == ("chatcmpl-9", "From seven to ten.")


def test_the_time_of_the_response_stands_in() -> None:
    fields = {key: value for key, value in RECORD.items() if key != "timestamp"}
    assert data_flywheel.read(fields, "hotel") == openai_chat.read(fields, "hotel")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp": "Jane"}, "timestamp: must be a time .*, got a text of 4 characters"),
        ({"request": []}, "request: must be of type dict, got list"),
        ({"response": {"id": "x", "choices": []}}, "choices: must hold a choice"),
    ],
)
def test_a_part_that_is_needed_and_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data_flywheel.read({**RECORD, **change}, "hotel")
