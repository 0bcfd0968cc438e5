import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.identifiers import holds_personal_data
from tests.feedback.scrubbing.personal import TOKENS, VALUES

ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTERS_AND_DIGITS = string.ascii_letters + string.digits


@given(
    st.uuids().map(str)
    | st.uuids().map(lambda value: value.hex)
    | st.text(ULID, min_size=25, max_size=25).map(lambda text: f"0{text}")
    | st.text(LETTERS_AND_DIGITS, min_size=24, max_size=29).map(lambda text: f"chatcmpl-{text}")
    | st.text(string.hexdigits.lower(), min_size=40, max_size=64)
    | st.integers(1, 99_999_999).map(lambda number: f"user-{number}")
)
def test_an_id_made_by_a_machine_stays(value: str) -> None:
    assert not holds_personal_data(value)


@pytest.mark.parametrize("value", ["r1", "", "session:17", "trace/4bf92f35/00f067aa0ba902b7"])
def test_a_plain_id_stays(value: str) -> None:
    assert not holds_personal_data(value)
    assert not holds_personal_data(f"{value}:{uuid.UUID(int=7)}")


@pytest.mark.parametrize(
    "value",
    [
        *VALUES[PersonalDataType.EMAIL],
        *VALUES[PersonalDataType.IBAN],
        *VALUES[PersonalDataType.CARD],
        *VALUES[PersonalDataType.NATIONAL_ID],
        *TOKENS,
        "+49 170 1234567",
        "+447700900123",
        "203.0.113.77",
    ],
)
def test_an_id_of_personal_data_is_recognised_alone_and_between_separators(value: str) -> None:
    assert holds_personal_data(value)
    if value != "203.0.113.77":
        assert holds_personal_data(f"user:{value}")
