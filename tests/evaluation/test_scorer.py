import pytest

from llm_assets.evaluation.scorer import exact_match


@pytest.mark.parametrize("answer", ["sports", "Sports.", " SPORTS\n", "**sports**"])
def test_case_punctuation_and_white_space_do_not_matter(answer: str) -> None:
    assert exact_match(answer, "sports")


@pytest.mark.parametrize("answer", ["", "sport", "sports desk", "sports sports", "?"])
def test_everything_else_does(answer: str) -> None:
    assert not exact_match(answer, "sports")
