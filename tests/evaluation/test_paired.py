import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.evaluation.paired import paired_difference

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)


def split(pairs: list[tuple[bool, bool]]) -> tuple[list[bool], list[bool]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


@settings(deadline=None)
@given(pairs)
def test_the_interval_holds_the_difference(pairs: list[tuple[bool, bool]]) -> None:
    value, (low, high) = paired_difference(*split(pairs))
    assert -1 <= low <= value <= high <= 1


@settings(deadline=None)
@given(pairs)
def test_exchanging_the_models_mirrors_the_interval(pairs: list[tuple[bool, bool]]) -> None:
    first, second = split(pairs)
    value, (low, high) = paired_difference(first, second)
    mirrored = paired_difference(second, first)
    assert mirrored.value == pytest.approx(-value)
    assert mirrored.interval == pytest.approx((-high, -low))


@settings(deadline=None)
@given(pairs)
def test_a_model_is_never_surely_better_than_itself(pairs: list[tuple[bool, bool]]) -> None:
    first, _ = split(pairs)
    assert paired_difference(first, first).interval.low <= 0


def test_the_interval_covers_the_truth_about_95_times_of_100() -> None:
    rng = np.random.default_rng(0)
    num_covered = 0
    for _ in range(1000):
        second = rng.random(90) < 0.5
        first = np.where(second, rng.random(90) < 0.9, rng.random(90) < 0.6)
        _, (low, high) = paired_difference(first.tolist(), second.tolist())
        num_covered += low <= 0.5 * 0.9 + 0.5 * 0.6 - 0.5 <= high
    assert 0.93 <= num_covered / 1000 <= 0.985


def test_pairs_that_agree_give_a_narrower_interval() -> None:
    second = [True] * 30 + [False] * 60
    agreeing = [True] * 60 + [False] * 30
    crossing = [False] * 30 + [True] * 60
    narrow = paired_difference(agreeing, second).interval
    wide = paired_difference(crossing, second).interval
    assert narrow.high - narrow.low < wide.high - wide.low


def test_no_samples_have_no_difference() -> None:
    value, interval = paired_difference([], [])
    assert all(math.isnan(number) for number in (value, *interval))
