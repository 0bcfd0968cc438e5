"""The detectors on real questions with the real embedder."""

from collections.abc import Callable
from pathlib import Path

import chatterbot_corpus
import numpy as np
import pytest
import yaml

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.embeddings import EmbeddingCache, MiniLM, embed
from llm_assets.drift.scores import score_window
from tests.drift.vectors import a_baseline

KNOWN = ("ai", "coding", "emotion", "literature", "science")
FOREIGN = ("conversations", "money", "movies", "psychology", "sports")


def questions(topics: tuple[str, ...]) -> list[str]:
    folder = Path(chatterbot_corpus.__file__).parent / "data" / "english"
    found: dict[str, None] = {}
    for topic in topics:
        content = yaml.safe_load((folder / f"{topic}.yml").read_text())
        firsts = [talk[0] for talk in content["conversations"]]
        found |= dict.fromkeys(q for q in firsts if isinstance(q, str) and 8 <= len(q) <= 160)
    return list(found)


@pytest.fixture(scope="module")
def alarms(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., float]:
    """Return the share of drawn windows that are flagged: 70 prompts against 180."""
    cache = EmbeddingCache(tmp_path_factory.mktemp("lance"))
    known = embed(questions(KNOWN), cache=cache)
    foreign = embed(questions(FOREIGN), cache=cache)

    def share(*, foreign_rate: float, num_windows: int, config: DriftConfig) -> float:
        rng = np.random.default_rng(0)
        num_flagged = 0
        for _ in range(num_windows):
            rows = rng.permutation(known)
            baseline, current = rows[:180], rows[180:250].copy()
            num_foreign = round(70 * foreign_rate)
            current[:num_foreign] = rng.permutation(foreign)[:num_foreign]
            scores = score_window(
                current, a_baseline(baseline), embedder="hash", config=config, rng=rng
            )
            num_flagged += any(score.is_drifted for score in scores)
        return num_flagged / num_windows

    return share


def test_a_day_of_half_foreign_topics_is_flagged(alarms: Callable[..., float]) -> None:
    assert alarms(foreign_rate=0.5, num_windows=20, config=DriftConfig()) >= 0.9


def test_unchanged_days_are_flagged_at_most_at_the_configured_rate(
    alarms: Callable[..., float],
) -> None:
    config = DriftConfig(false_alarms_per_year=36.5)
    # At a rate of 0.1, 99.9 % of honest tests flag at most 11 of 40.
    assert alarms(foreign_rate=0.0, num_windows=40, config=config) <= 11 / 40


def test_vectors_have_unit_length_and_like_questions_are_near(tmp_path: Path) -> None:
    prompts = ["What is the capital of France?", "which city is France's capital", "I feel sad"]
    vectors = embed(prompts, cache=EmbeddingCache(tmp_path), embedder=MiniLM())
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similarities = vectors @ vectors.T
    assert similarities[0, 1] > 0.8 > 0.3 > similarities[0, 2]
