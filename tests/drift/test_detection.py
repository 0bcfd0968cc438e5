"""The detectors on real questions with the real embedder."""

from collections.abc import Callable
from pathlib import Path

import chatterbot_corpus
import numpy as np
import pytest
import yaml

from llm_assets.drift.config import DriftConfig
from llm_assets.drift.embedding.embeddings import EmbeddingCache, embed
from llm_assets.drift.embedding.minilm import MiniLM
from llm_assets.drift.reference import Reference, Sample
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
    known = embed(questions(KNOWN), cache=cache, embedder=MiniLM())
    foreign = embed(questions(FOREIGN), cache=cache, embedder=MiniLM())

    def share(*, foreign_rate: float, num_windows: int, config: DriftConfig) -> float:
        rng = np.random.default_rng(0)
        num_flagged = 0
        for _ in range(num_windows):
            rows = rng.permutation(known)
            baseline, current = rows[:180], rows[180:250].copy()
            num_foreign = round(70 * foreign_rate)
            current[:num_foreign] = rng.permutation(foreign)[:num_foreign]
            found = score_window(
                Sample(vectors=current),
                Reference(a_baseline(baseline)),
                embedder="hash",
                config=config,
                rng=rng,
                detectors=config.detectors,
            )
            num_flagged += any(score.is_drifted for score in found.scores)
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
