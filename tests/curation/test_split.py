from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.curation.config import CurationConfig
from llm_assets.curation.split import split_of

CONFIG = CurationConfig(holdout_rate=0.25, validation_rate=0.1)


def test_the_splits_have_about_their_configured_sizes() -> None:
    counts = Counter(split_of(f"prompt {i}", config=CONFIG) for i in range(4000))
    assert 900 < counts["holdout"] < 1100
    assert 300 < counts["validation"] < 500


def test_another_salt_gives_another_split() -> None:
    salted = CurationConfig(holdout_rate=0.25, validation_rate=0.1, split_salt="other")
    prompts = [f"prompt {i}" for i in range(100)]
    assert any(split_of(p, config=CONFIG) != split_of(p, config=salted) for p in prompts)


@settings(deadline=None)
@given(st.text(), st.floats(0.0, 0.2))
def test_the_holdout_does_not_depend_on_the_validation_rate(prompt: str, rate: float) -> None:
    changed = CurationConfig(holdout_rate=0.25, validation_rate=rate)
    is_holdout = [split_of(prompt, config=c) == "holdout" for c in (CONFIG, changed)]
    assert is_holdout[0] == is_holdout[1]
