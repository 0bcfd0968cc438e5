import json
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.formats import native
from tests.records import a_correction, an_interaction


def fields_of(record: Any) -> dict[str, Any]:
    return json.loads(record.to_json())


@pytest.mark.parametrize("record", [an_interaction("r1"), a_correction("f1", "r1", "money")])
def test_both_kinds_of_record_are_recognised_and_read(record: Any) -> None:
    assert native.recognises(fields_of(record))
    assert native.read(fields_of(record), "helpdesk").records == [record]


def test_the_application_may_be_left_out() -> None:
    fields = fields_of(an_interaction("r1", application="bank"))
    del fields["application"]
    (record,) = native.read(fields, "bank").records
    assert record.application == "bank"
    assert "application" not in fields


@pytest.mark.parametrize(
    ("given", "shown"),
    [("bank", "'bank'"), ("Jane Doe", "a text of 8 characters"), (7, "7"), (["bank"], "a list")],
)
def test_a_record_of_another_application_is_refused(given: Any, shown: str) -> None:
    fields = {**fields_of(an_interaction("r1")), "application": given}
    with pytest.raises(UserError, match=f"^application: must be 'helpdesk', got {shown}$"):
        native.read(fields, "helpdesk")


@pytest.mark.parametrize("fields", [{}, {"request_id": "r1"}, {"prompt": "x"}, {"kind": "thumb"}])
def test_what_has_no_request_or_says_nothing_is_not_ours(fields: dict[str, Any]) -> None:
    assert not native.recognises(fields)


def test_a_field_that_breaks_its_rule_is_named_and_its_text_is_not_quoted() -> None:
    fields = {**fields_of(an_interaction("r1")), "status": "fine"}
    with pytest.raises(UserError, match=r"^status: .*got a text of 4 characters$"):
        native.read(fields, "helpdesk")
