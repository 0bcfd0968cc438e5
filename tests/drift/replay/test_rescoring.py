import math
import zlib
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from llm_assets.drift.baseline import Baseline
from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.replay.rescoring import Rescorer
from llm_assets.feedback.tables import interaction_table
from tests.records import TIME, an_interaction

FIRST = TIME.date()
CONFIG = DriftConfig(detectors=(Detector.NOVELTY,), reference_days=2, min_prompts=5)
OLD, NEW, FOREIGN = 0, 4, 8


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def vector(prompt: str) -> np.ndarray:
    """Return a point near the axis that the prompt names, e.g. "about 3, 17th question"."""
    rng = np.random.default_rng(zlib.crc32(prompt.encode()))
    point = rng.normal(scale=0.1, size=12)
    point[int(prompt.split()[1].rstrip(","))] += 1
    return (point / np.linalg.norm(point)).astype(np.float32)


def vectors(prompts: Any) -> np.ndarray:
    return np.stack([vector(prompt) for prompt in prompts])


def traffic(number: int, topic: int, *, num: int = 40) -> pl.DataFrame:
    """Return a day of questions on a topic and the two beside it."""
    asked = [
        an_interaction(f"r{number}-{i}", prompt=f"about {topic + i % 3}, {number} {i}th question")
        for i in range(num)
    ]
    return interaction_table(asked)


def a_rescorer(days: dict[int, pl.DataFrame], **fields: Any) -> Rescorer:
    by_date = {day(number): rows for number, rows in days.items()}
    prompts = [f"about {OLD + i % 3}, {i}th question" for i in range(200)]
    stored = Baseline(model_version="v", embedder="axes", prompts=prompts, vectors=vectors(prompts))
    options: dict[str, Any] = {
        "days": list(by_date),
        "interactions": by_date.__getitem__,
        "vectors": vectors,
        "stored": lambda version: stored if version == "helpdesk-v0002" else None,
        "of_first_days": frozenset({"helpdesk-v0001"}),
        "seed": lambda day: day.toordinal(),
        "embedder": "axes",
        "recorded_with": CONFIG,
        **fields,
    }
    return Rescorer(**options)


def drifted(rows: Any) -> bool:
    assert rows is not None
    assert not any(math.isnan(row["score"]) for row in rows)
    return any(row["is_drifted"] for row in rows)


MOVED = {n: traffic(n, OLD if n < 4 else NEW) for n in range(8)}


def test_a_day_like_those_before_the_start_is_calm_and_one_like_none_of_them_is_not() -> None:
    rescorer = a_rescorer({**MOVED, 8: traffic(8, FOREIGN)})
    assert not drifted(rescorer(day(7), day(6), CONFIG))
    assert drifted(rescorer(day(7), day(3), CONFIG))
    assert drifted(rescorer(day(8), day(7), CONFIG))


def test_a_versions_own_baseline_is_the_one_that_is_kept() -> None:
    rescorer = a_rescorer(MOVED)
    assert not drifted(rescorer(day(1), "helpdesk-v0002", CONFIG))
    assert drifted(rescorer(day(7), "helpdesk-v0002", CONFIG))
    assert rescorer(day(7), "helpdesk-v0003", CONFIG) is None


def test_more_reference_days_are_another_baseline_and_its_days_are_not_scored() -> None:
    rescorer = a_rescorer(MOVED)
    longer = CONFIG.model_copy(update={"reference_days": 6})
    rows = rescorer(day(5), "helpdesk-v0001", longer)
    assert rows is not None
    assert {row["reason"] for row in rows} == {"the day belongs to the baseline of helpdesk-v0001"}
    assert not drifted(rescorer(day(6), "helpdesk-v0001", longer))
    shorter = CONFIG.model_copy(update={"reference_days": 3})
    assert drifted(rescorer(day(6), "helpdesk-v0001", shorter))


def test_of_the_prompts_before_a_start_the_newest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_assets.drift.replay.rescoring.MAX_BASELINE_PROMPTS", 60)
    rows = a_rescorer(MOVED)(day(7), day(6), CONFIG)
    assert rows is not None
    assert {row["num_baseline"] for row in rows} == {60}


def test_the_same_weekdays_before_are_the_reference_where_the_policy_says_so() -> None:
    seasonal = CONFIG.model_copy(update={"reference": "same_weekday", "seasonal_weeks": 3})
    weeks = {n: traffic(n, NEW if n % 7 == 0 else OLD) for n in (0, 1, 7, 8, 14, 15)}
    rescorer = a_rescorer(weeks)
    assert not drifted(rescorer(day(14), "helpdesk-v0001", seasonal))
    assert not drifted(rescorer(day(15), day(14), seasonal))
    rows = rescorer(day(0), "helpdesk-v0001", seasonal)
    assert rows is not None
    assert {row["reason"] for row in rows} == {"no prompts on this weekday in 3 weeks before"}


def test_where_vectors_are_not_kept_there_are_no_scores() -> None:
    assert a_rescorer(MOVED, vectors=lambda prompts: None)(day(7), day(6), CONFIG) is None
    other = CONFIG.model_copy(update={"embedding_model": "another"})
    assert a_rescorer(MOVED)(day(7), day(6), other) is None


def test_a_day_without_prompts_is_undefined() -> None:
    rows = a_rescorer({**MOVED, 8: traffic(8, OLD, num=0)})(day(8), day(7), CONFIG)
    assert rows is not None
    assert {(row["reason"], row["n"]) for row in rows} == {("no prompts on this day", 0)}


def test_only_the_policys_detectors_of_prompts_are_asked_and_all_draws_repeat() -> None:
    config = CONFIG.model_copy(update={"detectors": (Detector.LENGTH, Detector.REFUSAL_RATE)})
    rows = a_rescorer(MOVED)(day(7), day(6), config)
    assert rows is not None
    assert [row["detector"] for row in rows] == ["length"]
    again = a_rescorer(MOVED)(day(7), day(6), CONFIG)
    assert again == a_rescorer(MOVED)(day(7), day(6), CONFIG)
