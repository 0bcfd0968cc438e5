from hypothesis import given
from hypothesis import strategies as st

from llm_assets.deployment.judging.sample import is_drawn


@given(st.text(), st.floats(0.001, 1), st.floats(0.001, 1))
def test_what_is_drawn_at_a_rate_is_drawn_at_every_higher_one(
    request_id: str, rate: float, other: float
) -> None:
    low, high = sorted((rate, other))
    assert is_drawn(request_id, rate=high) or not is_drawn(request_id, rate=low)


@given(st.text(st.characters()))
def test_at_a_rate_of_1_everything_is_drawn(request_id: str) -> None:
    assert is_drawn(request_id, rate=1.0)


def test_half_a_surrogate_pair_in_an_id_does_no_harm() -> None:
    assert is_drawn("\ud800", rate=1.0)
