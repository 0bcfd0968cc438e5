import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.deployment.statistics.mixture import log_evidence
from llm_assets.deployment.statistics.sample_ratio import sample_ratio


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0.01, 0.99))
def test_a_mismatch_is_a_small_p_value(num: int, others: int, share: float) -> None:
    found = sample_ratio(num, num + others, share, alpha=0.01)
    assert 0 <= found.p_value <= 1
    assert found.is_mismatch == (found.p_value <= 0.01)


@given(st.integers(1, 100_000), st.floats(0.01, 0.99))
def test_the_planned_share_is_no_mismatch(n: int, share: float) -> None:
    assert not sample_ratio(round(n * share), n, share, alpha=0.05).is_mismatch


def test_a_tenth_of_the_challengers_requests_lost_is_found_in_some_thousands() -> None:
    assert not sample_ratio(45, 95, 0.5, alpha=0.01).is_mismatch
    assert sample_ratio(4500, 9500, 0.5, alpha=0.01).is_mismatch


def test_nothing_dealt_is_no_mismatch() -> None:
    share, p_value, is_mismatch = sample_ratio(0, 0, 0.5, alpha=0.05)
    assert math.isnan(share)
    assert (p_value, is_mismatch) == (1.0, False)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_who_looks_after_every_request_raises_few_false_alarms(share: float) -> None:
    rng = np.random.default_rng(4)
    counts = (rng.random((1000, 2000)) < share).cumsum(axis=1)
    evidence = log_evidence(counts, np.arange(1, 2001), share)
    assert (evidence.max(axis=1) >= -math.log(0.05)).mean() <= 0.05
