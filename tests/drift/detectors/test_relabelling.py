import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.detectors.relabelling import relabelled, sums


@settings(max_examples=25, deadline=None)
@given(num_current=st.integers(1, 30), num_reference=st.integers(1, 30), seed=st.integers(0, 99))
def test_every_window_has_the_size_of_the_day_and_the_first_is_the_day(
    num_current: int, num_reference: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = relabelled(num_current, num_reference, false_alarm_rate=0.1, rng=rng)
    assert labels.shape[1] == num_current + num_reference
    assert set(np.unique(labels)) <= {0, 1}
    assert (labels.sum(axis=1) == num_current).all()
    assert labels[0, :num_current].all()


@pytest.mark.parametrize(("num_current", "num_reference"), [(10, 30), (30, 10)])
def test_every_text_is_dealt_to_the_day_equally_often(num_current: int, num_reference: int) -> None:
    rng = np.random.default_rng(0)
    labels = relabelled(num_current, num_reference, false_alarm_rate=0.0025, rng=rng)
    assert len(labels) == 4001
    # 5 standard errors of a share of 4,000.
    np.testing.assert_allclose(labels[1:].mean(axis=0), num_current / 40, atol=5 * 0.0069)


def test_rarer_alarms_need_more_windows_up_to_a_limit() -> None:
    sizes = [
        len(relabelled(3, 3, false_alarm_rate=rate, rng=np.random.default_rng(0))) - 1
        for rate in (0.5, 0.01, 0.0001)
    ]
    assert sizes == [200, 1000, 4000]


def test_sums_are_those_of_one_product_whatever_the_chunks() -> None:
    from scipy import sparse

    rng = np.random.default_rng(3)
    labels = relabelled(7, 12, false_alarm_rate=0.05, rng=rng)
    counts = rng.integers(0, 4, (19, 5))
    features = sparse.csr_array(counts.astype(np.float32))
    chunks = list(sums(features, labels))
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), counts.T @ labels.T)
