from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.normalise import normalise


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None)
@given(st.text())
def test_a_text_of_anything_but_white_space_does_not_become_empty(text: str) -> None:
    assert bool(normalise(text)) == bool(text.strip())


def test_words_that_differ_stay_different() -> None:
    assert normalise("What is a quark?") != normalise("What was a quark?")
