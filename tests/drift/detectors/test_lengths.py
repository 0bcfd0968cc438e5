import math

import numpy as np
import pytest

from llm_assets.drift.detectors.calibration import Calibrated, Undefined
from llm_assets.drift.detectors.lengths import length_shift, log_lengths
from llm_assets.drift.detectors.relabelling import relabelled


def test_a_length_is_the_logarithm_of_the_characters() -> None:
    np.testing.assert_allclose(log_lengths(["", "ä", "abc"]), np.log([1, 2, 4]))


@pytest.mark.parametrize("sign", [1, -1])
def test_both_directions_are_found_and_the_effect_tells_which(sign: int) -> None:
    rng = np.random.default_rng(0)
    result = _shift(rng.normal(4 + sign, 1, 100), rng.normal(4, 1, 300), rng=rng)
    assert result.score > result.threshold
    assert result.effect_size == pytest.approx(sign * result.score)
    assert 0.6 < result.interval.low < result.score < result.interval.high < 1.4


def test_the_score_is_the_difference_in_standard_deviations_of_the_reference() -> None:
    rng = np.random.default_rng(1)
    result = _shift(np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0]), rng=rng)
    assert result.score == pytest.approx(1.0)


def test_where_nothing_moved_the_interval_reaches_zero() -> None:
    rng = np.random.default_rng(2)
    result = _shift(np.arange(50.0), np.arange(50.0), rng=rng)
    assert result.score == 0
    assert result.exceedance_rate == 1
    assert result.interval.low == 0
    # 2 standard errors of a difference of two means of 50.
    assert result.interval.high == pytest.approx(1.96 * math.sqrt(2 / 50), rel=0.01)


@pytest.mark.parametrize(
    ("current", "reference", "side"),
    [([3.0] * 4, [1.0, 2.0], "4 texts of the window"), ([1.0, 2.0], [3.0] * 5, "5 texts of the")],
)
def test_lengths_that_do_not_vary_have_no_score(
    current: list[float], reference: list[float], side: str
) -> None:
    labels = relabelled(
        len(current), len(reference), false_alarm_rate=0.1, rng=np.random.default_rng(0)
    )
    result = length_shift(np.array(current), np.array(reference), labels, false_alarm_rate=0.1)
    assert isinstance(result, Undefined)
    assert result.reason.startswith(f"all {side}")


def _shift(current: np.ndarray, reference: np.ndarray, *, rng: np.random.Generator) -> Calibrated:
    labels = relabelled(len(current), len(reference), false_alarm_rate=0.05, rng=rng)
    result = length_shift(current, reference, labels, false_alarm_rate=0.05)
    assert isinstance(result, Calibrated)
    return result
