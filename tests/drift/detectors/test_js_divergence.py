from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm_assets.drift.detectors.js_divergence import Divergence, divergence, js_divergence
from llm_assets.drift.detectors.relabelling import relabelled

_counts = arrays(np.int64, (4, 3), elements=st.integers(0, 5))


@settings(max_examples=50, deadline=None)
@given(current=_counts, reference=_counts)
def test_it_is_the_square_of_scipys_distance_and_symmetric(
    current: np.ndarray, reference: np.ndarray
) -> None:
    mixes = [(side + 1) / (side + 1).sum(axis=0) for side in (current, reference)]
    ours = js_divergence(*mixes)
    np.testing.assert_allclose(ours, _by_scipy(*mixes), atol=1e-10)
    np.testing.assert_array_equal(ours, js_divergence(*mixes[::-1]))
    assert ((ours >= 0) & (ours <= 1)).all()


def test_a_mix_has_no_divergence_from_itself() -> None:
    mix = np.array([0.5, 0.25, 0.25, 0.0])
    assert js_divergence(mix, mix) == 0


def test_the_null_is_the_divergence_of_the_windows_dealt_out() -> None:
    rng = np.random.default_rng(1)
    labels = relabelled(20, 40, false_alarm_rate=0.05, rng=rng)
    counts = rng.poisson(1.0, (60, 4)) + 1
    result = divergence(_sparse(counts), labels)
    for row, score in [(0, result.score), (1, result.null[0]), (200, result.null[199])]:
        mine = labels[row].astype(bool)
        sides = [counts[mine].sum(axis=0), counts[~mine].sum(axis=0)]
        np.testing.assert_allclose(score, _by_scipy(*sides), atol=1e-10)


def test_the_interval_holds_the_mean_score_of_such_days() -> None:
    rng = np.random.default_rng(5)
    for shares in ([0.5, 0.3, 0.2], [0.2, 0.3, 0.5]):
        results = [_drawn(shares, rng=rng) for _ in range(120)]
        mean = float(np.mean([result.score for result in results]))
        covered = [r.interval.low <= mean <= r.interval.high for r in results]
        # 95 % wanted; an honest interval falls below 105 of 120 once in 2,000 times.
        assert sum(covered) >= 105


def test_windows_that_hold_nothing_are_as_far_as_can_be() -> None:
    labels = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.uint8)
    counts = _sparse(np.array([[1], [0], [1], [0]]))
    result = divergence(counts, labels)
    assert result.score == 0
    assert result.null.tolist() == [1.0, 1.0]


def _sparse(counts: np.ndarray) -> Any:
    from scipy import sparse

    return sparse.csr_array(counts.astype(np.float32))


def _by_scipy(current: np.ndarray, reference: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import jensenshannon

    return np.asarray(jensenshannon(current, reference, base=2)) ** 2


def _drawn(shares: list[float], *, rng: np.random.Generator) -> Divergence:
    categories = [rng.choice(3, 60, p=shares), rng.choice(3, 240, p=[0.5, 0.3, 0.2])]
    counts = _sparse(np.eye(3)[np.concatenate(categories)])
    return divergence(counts, relabelled(60, 240, false_alarm_rate=0.1, rng=rng))
