import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.formats.json_text import json_of, storable, unpacked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert json_of(json.dumps(value)) == value
    assert json_of(json.dumps(value).encode()) == value


@given(st.dictionaries(st.text(max_size=3), JSON))
def test_an_object_that_json_can_carry_stays_as_it_is(fields: dict[str, Any]) -> None:
    assert storable(fields) is fields


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"cut \ud83d"', "cut ?"),
        (r'"\ude00 cut"', "? cut"),
        (
            r'{"\ud83d": NaN, "whole": "\ud83d\ude00", "cut": "\ud83d"}',
            {"?": None, "whole": "😀", "cut": "?"},
        ),
        ("[NaN, Infinity, -Infinity]", [None, None, None]),
        ("\ufeff[1]".encode(), [1]),
        (f"[{10**30}]", [1e30]),
    ],
)
def test_what_other_programs_write_is_read(text: str | bytes, value: Any) -> None:
    assert json_of(text) == value


@pytest.mark.parametrize(
    "text", ["", "{", "jane", '{"a": jane}', "[" * 5000, f"[{10**400}]", b"\xff"]
)
def test_what_is_no_json_is_one_line_that_quotes_nothing(text: str | bytes) -> None:
    with pytest.raises(UserError, match=r"^is not JSON: ") as caught:
        json_of(text)
    assert "jane" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_with_half_a_surrogate_pair_is_made_storable() -> None:
    assert storable({"a": ["cut \ud83d"], "b": math.nan}) == {"a": ["cut ?"], "b": None}
    assert storable({"a": 10**30}) == {"a": 1e30}


@pytest.mark.parametrize("value", [object(), b"x", {1, 2}, 10**400])
def test_an_object_that_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(UserError):
        storable({"a": value})


@pytest.mark.parametrize(
    ("value", "inner"),
    [
        ('{"a": 1}', {"a": 1}),
        (" [1]", [1]),
        ("{oops", "{oops"),
        ('"quoted"', '"quoted"'),
        ("7", "7"),
        (7, 7),
        (None, None),
    ],
)
def test_a_text_is_unpacked_if_it_holds_an_object_or_a_list(value: Any, inner: Any) -> None:
    assert unpacked(value) == inner
