import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pytest

from llm_assets.feedback.implicit.calibration import (
    Calibration,
    calibrate,
    is_comparable,
    rephrase_threshold,
    sample_prompts,
)
from llm_assets.feedback.implicit.config import ImplicitConfig

CONFIG = ImplicitConfig(rephrase_false_positive_rate=0.02, rephrase_similarity_floor=0.0)


def unit_vectors(n: int, num_dimensions: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.standard_normal((n, num_dimensions))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def asked(*rows: tuple[str | None, str]) -> pl.DataFrame:
    """Return prompts by session, oldest first."""
    schema = {"session_id": pl.String, "prompt": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def calibrated(rows: Sequence[tuple[str, str]], vector_of: Mapping[str, np.ndarray]) -> Calibration:
    sample = sample_prompts(asked(*rows), rng=np.random.default_rng(3))
    return calibrate(sample, vector_of, config=CONFIG, rng=np.random.default_rng(7))


def test_the_rate_of_chance_pairs_over_the_threshold_is_the_configured_one() -> None:
    prompts = [f"question number {i}" for i in range(800)]
    vectors = unit_vectors(800, 8, np.random.default_rng(1))
    found = calibrated(
        [(f"s{i}", prompt) for i, prompt in enumerate(prompts)],
        dict(zip(prompts, vectors, strict=True)),
    )
    fresh = unit_vectors(40_000, 8, np.random.default_rng(2))
    similarity = np.sum(fresh[:20_000] * fresh[20_000:], axis=1)
    assert np.mean(similarity >= found.threshold) == pytest.approx(0.02, abs=0.005)


def test_where_sessions_keep_to_a_topic_the_threshold_is_higher() -> None:
    rng = np.random.default_rng(1)
    rows, vector_of = [], {}
    topics = np.repeat(unit_vectors(200, 8, rng), 6, axis=0)
    for number, vector in enumerate(topics + 0.2 * unit_vectors(1200, 8, rng)):
        prompt = f"question number {number}"
        rows.append((f"s{number // 6}", prompt))
        vector_of[prompt] = vector / np.linalg.norm(vector)
    on_topic = calibrated(rows, vector_of)
    alone = calibrated([(f"t{i}", prompt) for i, (_, prompt) in enumerate(rows)], vector_of)
    assert len(on_topic.topic) == 800
    assert len(alone.topic) == 0
    assert np.mean(on_topic.topic > on_topic.threshold) <= CONFIG.rephrase_false_positive_rate
    assert on_topic.threshold > alone.threshold + 0.05


def test_pairs_of_one_session_or_of_the_same_words_are_no_chance_pairs() -> None:
    rows = [
        ("a", "one two three"),
        ("a", "four five six"),
        ("b", "One, two; three!"),
        ("c", "seven eight nine"),
    ]
    vectors = np.eye(4)[[0, 0, 1, 2]]
    found = calibrated(rows, {prompt: v for (_, prompt), v in zip(rows, vectors, strict=True)})
    # Of six pairs, one is within session a, and one differs in its writing only.
    assert found.chance.tolist() == [0.0] * 4
    assert math.isnan(found.threshold)


def test_a_prompt_stands_beside_the_one_two_turns_later_in_its_own_session() -> None:
    sample = sample_prompts(
        asked(
            ("a", "one two three"),
            ("b", "b b b"),
            ("a", "yes"),
            (None, "n n n"),
            ("a", "four five six"),
            ("b", "c c c"),
            ("b", "go"),
        ),
        rng=np.random.default_rng(1),
    )
    assert dict(sample.select("prompt", "two_later").iter_rows()) == {
        "one two three": "four five six",
        "b b b": None,
        "four five six": None,
        "c c c": None,
    }


def test_too_few_pairs_give_no_threshold() -> None:
    few, many = np.linspace(0, 1, 999), np.linspace(0, 1, 5000)
    options = {"false_positive_rate": 0.01, "floor": 0.6}
    assert math.isnan(rephrase_threshold(few, many, **options))
    assert math.isnan(rephrase_threshold(np.empty(0), np.empty(0), **options))
    assert math.isnan(calibrated([], {}).threshold)


def test_the_threshold_is_never_below_the_floor() -> None:
    null = np.full(5000, 0.1)
    assert rephrase_threshold(null, null, false_positive_rate=0.01, floor=0.6) == 0.6


def test_at_most_two_thousand_prompts_are_drawn_and_a_seed_draws_the_same() -> None:
    table = asked(*((f"s{i}", f"prompt number {i}") for i in range(2500)))
    first, second = (sample_prompts(table, rng=np.random.default_rng(7)) for _ in range(2))
    assert first.height == 2000
    assert first.equals(second)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("", False), ("go on", False), ("how are you", True), ("a b " * 251, False), ("a b c", True)],
)
def test_only_prompts_of_some_words_that_are_read_whole_are_compared(
    prompt: str, expected: bool
) -> None:
    assert is_comparable(prompt) == expected
    sample = sample_prompts(asked(("s", prompt)), rng=np.random.default_rng(1))
    assert sample.height == int(expected)
