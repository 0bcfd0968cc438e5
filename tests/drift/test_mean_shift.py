import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.mean_shift import mean_shift
from llm_assets.drift.resampling import resampled_means
from tests.drift.vectors import topic


def test_false_alarms_stay_near_the_wanted_rate() -> None:
    rng = np.random.default_rng(5)
    num_alarms = 0
    for _ in range(200):
        vectors = topic(180, centre=0, rng=rng)
        result = mean_shift(vectors[:60], vectors[60:], false_alarm_rate=0.1, rng=rng)
        num_alarms += result.score > result.threshold
    # 99.9 % of honest tests alarm 7 to 35 times.
    assert 7 <= num_alarms <= 35


def test_a_changed_mixture_of_known_topics_is_found() -> None:
    rng = np.random.default_rng(1)
    baseline = np.concatenate([topic(100, centre=0, rng=rng), topic(100, centre=1, rng=rng)])
    current = np.concatenate([topic(50, centre=0, rng=rng), topic(10, centre=1, rng=rng)])
    result = mean_shift(current, baseline, false_alarm_rate=0.005, rng=rng)
    assert result.score > result.threshold
    assert result.interval.low > 0


def test_the_score_is_0_on_average_when_nothing_changed() -> None:
    rng = np.random.default_rng(2)
    scores = []
    for _ in range(60):
        vectors = topic(100, centre=0, rng=rng)
        scores.append(mean_shift(vectors[:40], vectors[40:], false_alarm_rate=0.1, rng=rng).score)
    assert abs(np.mean(scores)) < 4 * np.std(scores) / np.sqrt(len(scores))


def test_the_same_seed_gives_the_same_result() -> None:
    vectors = topic(100, centre=0, rng=np.random.default_rng(0))
    first, second = (
        mean_shift(vectors[:40], vectors[40:], false_alarm_rate=0.1, rng=np.random.default_rng(3))
        for _ in range(2)
    )
    assert first == second


def test_a_baseline_beyond_the_resampled_part_gives_about_the_same_threshold() -> None:
    rng = np.random.default_rng(4)
    vectors = topic(6000, centre=0, rng=rng)
    current = topic(100, centre=0, rng=rng)
    large = mean_shift(current, vectors, false_alarm_rate=0.05, rng=rng)
    small = mean_shift(current, vectors[:1900], false_alarm_rate=0.05, rng=rng)
    assert abs(large.threshold / small.threshold - 1) < 0.2


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 50),
    num_draws=st.integers(1, 50),
    num_samples=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_resampled_means_are_means_of_the_rows(
    size: int, num_draws: int, num_samples: int, seed: int
) -> None:
    vectors = np.eye(size, dtype=np.float32)
    chunks = list(
        resampled_means(
            vectors,
            num_draws=num_draws,
            num_samples=num_samples,
            rng=np.random.default_rng(seed),
        )
    )
    means = np.concatenate(chunks)
    assert means.shape == (num_samples, size)
    np.testing.assert_allclose(means.sum(axis=1), 1, rtol=1e-5)
    counts = means * num_draws
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
