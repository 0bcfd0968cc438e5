import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.confidence import (
    MIN_VERDICTS,
    Calibration,
    Estimate,
    estimate_accuracy,
)
from llm_assets.drift.detectors.calibration import Undefined


def rightness(confidences: np.ndarray) -> np.ndarray:
    """Return how often answers are right: a model that is surer than it should be."""
    return 0.1 + 0.8 * confidences**2


def judged(rng: np.random.Generator, *, m: int) -> tuple[np.ndarray, np.ndarray]:
    confidences = rng.beta(3, 2, m)
    return confidences, rng.random(m) < rightness(confidences)


def calibrated(rng: np.random.Generator, *, m: int = 1000) -> Calibration:
    calibration = Calibration.of(*judged(rng, m=m))
    assert isinstance(calibration, Calibration)
    return calibration


def defined(estimate: Estimate | Undefined) -> Estimate:
    assert isinstance(estimate, Estimate)
    return estimate


@pytest.mark.parametrize("shape", [(3, 2), (2, 2.5), (6, 2)])
def test_the_interval_holds_the_accuracy_as_often_as_it_says(shape: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    truth = float(rightness(rng.beta(*shape, 200_000)).mean())
    estimates = [
        defined(estimate_accuracy(rng.beta(*shape, 500), calibrated(rng))) for _ in range(300)
    ]
    num_covering = sum(e.interval.low <= truth <= e.interval.high for e in estimates)
    assert num_covering >= 300 * 0.92
    # Not by being wide, and not around a wrong middle.
    assert np.mean([e.interval.high - e.interval.low for e in estimates]) < 0.12
    assert abs(np.mean([e.value for e in estimates]) - truth) < 0.01


def test_less_confident_answers_lower_the_estimate_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    calibration = calibrated(rng)
    usual = defined(estimate_accuracy(rng.beta(3, 2, 2000), calibration))
    unsure = defined(estimate_accuracy(rng.beta(2, 4, 2000), calibration))
    assert unsure.interval.high < usual.interval.low


def test_the_estimate_of_the_judged_answers_themselves_is_their_rate() -> None:
    rng = np.random.default_rng(2)
    confidences = np.repeat(np.linspace(0.05, 0.95, 20), 50)
    is_right = rng.random(1000) < rightness(confidences)
    calibration = Calibration.of(confidences, is_right)
    assert isinstance(calibration, Calibration)
    estimate = defined(estimate_accuracy(confidences, calibration))
    assert estimate.value == pytest.approx(is_right.mean())
    assert estimate.n == 1000


def test_a_model_that_is_always_equally_sure_has_the_rate_of_its_verdicts() -> None:
    is_right = np.arange(400) % 4 > 0
    calibration = Calibration.of(np.full(400, 0.9), is_right)
    assert isinstance(calibration, Calibration)
    estimate = defined(estimate_accuracy(np.full(50, 0.9), calibration))
    assert estimate.value == pytest.approx(0.75)
    assert 0.70 < estimate.interval.low < 0.75 < estimate.interval.high < 0.80


def test_more_verdicts_make_the_interval_narrower() -> None:
    rng = np.random.default_rng(3)
    today = rng.beta(3, 2, 100_000)
    widths = [
        interval.high - interval.low
        for interval in (
            defined(estimate_accuracy(today, calibrated(rng, m=m))).interval for m in (300, 3000)
        )
    ]
    assert widths[1] < widths[0] / 2


def test_a_bin_of_right_answers_only_is_not_certain() -> None:
    confidences = np.repeat([0.2, 0.9], MIN_VERDICTS)
    calibration = Calibration.of(confidences, confidences > 0.5)
    assert isinstance(calibration, Calibration)
    estimate = defined(estimate_accuracy(np.full(10_000, 0.9), calibration))
    assert (estimate.value, estimate.interval.high) == (1.0, 1.0)
    assert estimate.interval.low < 0.99


@pytest.mark.parametrize(("num_right", "num_wrong"), [(49, 500), (500, 49), (0, 0)])
def test_too_few_verdicts_of_one_kind_calibrate_nothing(num_right: int, num_wrong: int) -> None:
    is_right = np.arange(num_right + num_wrong) < num_right
    found = Calibration.of(np.linspace(0, 1, len(is_right)), is_right)
    assert found == Undefined(
        f"{num_right} good and {num_wrong} bad verdicts on earlier answers with a confidence, "
        "50 of each are needed"
    )


def test_no_answers_have_no_accuracy() -> None:
    found = estimate_accuracy(np.array([]), calibrated(np.random.default_rng(4)))
    assert found == Undefined("0 answers with a confidence")


@pytest.mark.parametrize("outside", [0.001, 0.999])
def test_answers_unlike_any_that_were_judged_have_none(outside: float) -> None:
    confidences = np.linspace(0.2, 0.8, 200)
    calibration = Calibration.of(confidences, np.arange(200) % 2 > 0)
    assert isinstance(calibration, Calibration)
    few, many = (np.r_[np.full(100 - k, 0.5), np.full(k, outside)] for k in (10, 11))
    assert isinstance(estimate_accuracy(few, calibration), Estimate)
    assert estimate_accuracy(many, calibration) == Undefined(
        "11 of 100 answers have a confidence outside 0.200 to 0.800, where verdicts are known"
    )


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_an_estimate_is_a_rate_inside_its_interval_whatever_the_order(
    verdicts: list[tuple[float, bool]], today: list[float], random: Random
) -> None:
    certain = [(0.0, False), (1.0, True)] * MIN_VERDICTS
    rows = [*verdicts, *certain]
    first, second = (
        defined(estimate_accuracy(np.array(confidences), calibration_on(verdicts)))
        for confidences, verdicts in (
            (today, rows),
            (random.sample(today, len(today)), random.sample(rows, len(rows))),
        )
    )
    assert 0 <= first.interval.low <= first.value <= first.interval.high <= 1
    assert first.value == pytest.approx(second.value)
    assert math.isclose(first.interval.low, second.interval.low, abs_tol=1e-9)


def calibration_on(verdicts: list[tuple[float, bool]]) -> Calibration:
    calibration = Calibration.of(
        np.array([confidence for confidence, _ in verdicts]),
        np.array([is_right for _, is_right in verdicts]),
    )
    assert isinstance(calibration, Calibration)
    return calibration
