import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.detectors import nearest as module
from llm_assets.drift.detectors.nearest import nearest_centres, nearest_distances
from tests.drift.vectors import unit


@settings(max_examples=20, deadline=None)
@given(num_current=st.integers(1, 40), num_baseline=st.integers(2, 40), seed=st.integers(0, 99))
def test_blocks_give_the_same_as_one_product(
    num_current: int, num_baseline: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    current = unit(rng.normal(size=(num_current, 5)))
    baseline = unit(rng.normal(size=(num_baseline, 5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CURRENT_ROWS", 7)
        patch.setattr(module, "_BASELINE_ROWS", 6)
        blocks = nearest_distances(current, baseline)
        own = nearest_distances(baseline, baseline, own_rows=np.arange(num_baseline))
        centres = nearest_centres(current, baseline * 2)
    np.testing.assert_allclose(blocks, 1 - (current @ baseline.T).max(axis=1), atol=2e-5)
    similarities = baseline @ baseline.T
    np.fill_diagonal(similarities, -np.inf)
    np.testing.assert_allclose(own, 1 - similarities.max(axis=1), atol=2e-5)
    squares = ((current[:, None] - 2 * baseline[None]) ** 2).sum(axis=2)
    rows = np.arange(num_current)
    np.testing.assert_allclose(squares[rows, centres], squares.min(axis=1), atol=1e-4)


def test_the_same_prompt_has_no_distance_to_itself() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(200, 384)))
    assert nearest_distances(vectors, vectors).tolist() == [0.0] * 200
