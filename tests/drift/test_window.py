import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.drift.window import window


def asked(prompts: dict[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"request_id": list(prompts), "prompt": list(prompts.values())},
        schema={"request_id": pl.String, "prompt": pl.String},
    )


def test_blank_prompts_are_left_out() -> None:
    day = asked({"a": "why?", "b": " \n", "c": None, "d": "how?"})
    assert window(day, max_prompts=9)["request_id"].to_list() == ["a", "d"]


@given(ids=st.sets(st.text(), max_size=40), num=st.integers(1, 50))
def test_of_many_prompts_so_many_are_drawn_in_their_order(ids: set[str], num: int) -> None:
    day = asked(dict.fromkeys(ids, "why?"))
    drawn = window(day, max_prompts=num)["request_id"].to_list()
    assert len(drawn) == min(num, len(ids))
    assert drawn == [name for name in day["request_id"] if name in set(drawn)]


@given(ids=st.sets(st.text(), min_size=1, max_size=40), num=st.integers(1, 40))
def test_a_smaller_draw_is_a_part_of_a_larger_one_whatever_the_order(
    ids: set[str], num: int
) -> None:
    day = asked(dict.fromkeys(ids, "why?"))
    larger = set(window(day, max_prompts=num + 1)["request_id"])
    smaller = set(window(day.reverse(), max_prompts=num)["request_id"])
    assert smaller <= larger


def test_an_empty_day_has_an_empty_window() -> None:
    assert window(asked({}), max_prompts=5).is_empty()
