import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.deployment.statistics.allocation import challenger_share
from tests.deployment.statistics.test_mean import sums

Arm = tuple[float, int]


@given(sums(), sums())
def test_no_arm_gets_less_than_a_tenth(challenger: Arm, champion: Arm) -> None:
    assert 0.1 - 1e-9 <= challenger_share(*challenger, *champion) <= 0.9 + 1e-9


@given(sums(), sums())
def test_the_shares_of_both_arms_are_all_there_is(challenger: Arm, champion: Arm) -> None:
    share = challenger_share(*challenger, *champion)
    assert share + challenger_share(*champion, *challenger) == pytest.approx(1, abs=1e-4)


@given(st.integers(0, 99), st.integers(0, 100))
def test_a_success_more_raises_the_share(num: int, champion: int) -> None:
    before = challenger_share(num, 100, champion, 100)
    assert challenger_share(num + 1, 100, champion, 100) >= before


def test_equal_arms_share_equally() -> None:
    assert challenger_share(0, 0, 0, 0) == pytest.approx(0.5)
    assert challenger_share(30, 70, 30, 70) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "arms", [(7, 10, 5, 10), (1, 1, 500_000, 1_000_000), (900, 100_000, 880, 100_000)]
)
def test_the_share_follows_from_how_probably_the_challenger_is_better(
    arms: tuple[int, int, int, int],
) -> None:
    rng = np.random.default_rng(5)
    first = rng.beta(1 + arms[0], 1 + arms[1] - arms[0], 200_000)
    second = rng.beta(1 + arms[2], 1 + arms[3] - arms[2], 200_000)
    probability = (first > second).mean()
    assert challenger_share(*arms) == pytest.approx(0.1 + 0.8 * probability, abs=0.004)
