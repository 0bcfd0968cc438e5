"""Policies tried on the past of an installation, with traffic that moves to another topic."""

import json
import math
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.drift.config import Detector
from llm_assets.drift.embedding.embeddings import EmbeddingCache, key_of
from llm_assets.drift.scores import DriftScore, score_table
from llm_assets.errors import UserError
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.manifest import ModelManifest
from llm_assets.replay import Replays, describe, replay, to_json
from llm_assets.storage import Partition
from tests.installations import CANDIDATE, VERSION, an_installation
from tests.records import a_correction, an_interaction

FIRST = date(2026, 3, 1)
NUM_DAYS, MOVED_ON = 12, 5


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def at(number: int) -> datetime:
    return datetime.combine(day(number), datetime.min.time(), UTC) + timedelta(hours=12)


def vectors(prompts: Sequence[str]) -> np.ndarray:
    """Return points near the axis that each prompt names."""
    rows = []
    for prompt in prompts:
        point = np.random.default_rng(zlib.crc32(prompt.encode())).normal(scale=0.1, size=12)
        point[int(prompt.split()[1])] += 1
        rows.append(point / np.linalg.norm(point))
    return np.stack(rows).astype(np.float32)


def fill(installation: Installation, *, are_kept: bool = True) -> None:
    """Write days of traffic that moves, their scores against the first days, and corrections."""
    embedder, prompts = installation.embedder("helpdesk").name, []
    for number in range(NUM_DAYS):
        partition = Partition(application="helpdesk", date=day(number))
        has_moved = number >= MOVED_ON
        asked = [
            an_interaction(
                f"r{number}-{i}",
                time=at(number),
                prompt=f"about {4 * has_moved + i % 3} on {number}: {i}",
            )
            for i in range(40)
        ]
        installation.table("interaction_logs").write(partition, interaction_table(asked))
        prompts += [interaction.prompt for interaction in asked]
        given = [
            a_correction(f"f{number}-{i}", f"r{number}-{i}", "money", time=at(number))
            for i in range(3)
        ]
        installation.table("feedback_logs").write(partition, feedback_table(given))
        score = DriftScore(
            detector=Detector.NOVELTY,
            n=40,
            num_baseline=40,
            score=0.9 if has_moved else 0.1,
            threshold=0.2,
            exceedance_rate=0.0005 if has_moved else 0.5,
            effect_size=0.1,
            decides=True,
            is_drifted=has_moved,
        )
        table = score_table([score], model_version=VERSION, embedder=embedder)
        installation.table("drift_scores").write(partition, table)
    if are_kept:
        keys = [key_of(embedder, prompt) for prompt in prompts]
        EmbeddingCache(installation.lance).add(keys, vectors(prompts))


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    drift = {"reference_days": 1, "min_prompts": 10, "windows": 3, "windows_needed": 2}
    triggers = {"expected_gpu_hours": 3.0, "gpu_hour_cost": 2.0, "value_per_better_answer": 9.0}
    with an_installation(tmp_path, tiny_base_model, drift=drift, triggers=triggers) as made:
        register_base_models(made, now=at(0))
        yield made


@pytest.fixture(autouse=True)
def two_days_are_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_assets.drift.replay.rescoring.MAX_BASELINE_PROMPTS", 80)


def replayed(installation: Installation, *policies: Path, first: int = 1) -> Replays:
    return replay(
        installation, "helpdesk", first=day(first), last=day(NUM_DAYS - 1), policies=policies
    )


def a_policy(folder: Path, name: str, content: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(content)
    return path


def test_a_cycle_makes_the_new_topic_usual(installation: Installation) -> None:
    fill(installation)
    own = replayed(installation).replays[0]
    assert [(event.day, event.cause) for event in own.starts] == [(day(MOVED_ON + 1), "drift")]
    assert own.num_rescored == NUM_DAYS - MOVED_ON - 2
    assert own.num_not_rescored == 0


def test_without_vectors_the_scores_of_then_count_and_it_says_so(
    installation: Installation,
) -> None:
    fill(installation, are_kept=False)
    replays = replayed(installation)
    assert len(replays.replays[0].starts) > 1
    assert "days count as scored then: their vectors, or the baseline, are not kept" in describe(
        replays
    )


def test_policies_stand_side_by_side_the_own_one_first(
    installation: Installation, tmp_path: Path
) -> None:
    fill(installation)
    strict = a_policy(tmp_path, "strict", "drift: {false_alarms_per_year: 1.0}")
    by_volume = "triggers: {min_new_feedback: 6, expected_gpu_hours: 8.0}"
    volume = a_policy(tmp_path, "volume", by_volume)
    replays = replayed(installation, strict, volume)
    told = to_json(replays)
    assert [policy["name"] for policy in told["policies"]] == ["helpdesk", "strict", "volume"]
    own, strict_one, volume_one = told["policies"]
    assert (own["num_starts"], own["hours"], own["cost"]) == (1, 3.0, 6.0)
    assert volume_one["num_starts"] > 1
    assert volume_one["hours"] == 8 * volume_one["num_starts"]
    assert 0 < strict_one["expected_false_starts_per_year"] < 0.1
    assert json.loads(json.dumps(told)) == told


def test_it_is_told_when_and_why_and_what_holds_back(
    installation: Installation, tmp_path: Path
) -> None:
    fill(installation)
    slow = a_policy(tmp_path, "slow", "triggers: {min_new_feedback: 3, cooldown_hours: 60.0}")
    text = describe(replayed(installation, slow))
    assert text.splitlines()[:2] == [
        "helpdesk, 2026-03-02 to 2026-03-12",
        "registered in truth: nothing",
    ]
    start = f"  {day(MOVED_ON + 1)} a cycle starts by drift: 2 of the last 3 windows drifted"
    assert start in text
    assert "volume is held back: 6 new feedback, 3 needed, but the cooldown of 60 hours" in text
    assert "false starts a year" in text


def test_feedback_of_days_after_the_last_one_is_not_counted(installation: Installation) -> None:
    fill(installation)
    policies = (a_policy(installation.home.parent, "v", "triggers: {min_new_feedback: 30}"),)
    part = replay(installation, "helpdesk", first=day(0), last=day(4), policies=policies)
    assert part.replays[1].starts == []


def test_nothing_is_written(installation: Installation) -> None:
    fill(installation)
    before = {path: path.stat().st_mtime_ns for path in installation.home.rglob("*.parquet")}
    replayed(installation)
    assert {p: p.stat().st_mtime_ns for p in installation.home.rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("first", "last", "problem"),
    [
        (day(3), day(2), "--from must not be after --to, got 2026-03-04 and 2026-03-03"),
        (
            day(40),
            day(50),
            "application 'helpdesk': no traffic from 2026-04-10 to 2026-04-20; "
            "it has some from 2026-03-01 to 2026-03-12",
        ),
    ],
)
def test_days_without_traffic_are_an_error(
    installation: Installation, first: date, last: date, problem: str
) -> None:
    fill(installation)
    with pytest.raises(UserError) as caught:
        replay(installation, "helpdesk", first=first, last=last, policies=[])
    assert str(caught.value) == problem


def test_an_application_that_nobody_has_asked_yet_is_an_error(installation: Installation) -> None:
    with pytest.raises(UserError, match="it has none at all"):
        replayed(installation)


def test_older_days_without_exceedance_rates_are_told(installation: Installation) -> None:
    fill(installation)
    table = installation.table("drift_scores")
    partition = Partition(application="helpdesk", date=day(2))
    rows = table.read(partition)
    assert rows is not None
    table.write(partition, rows.drop("exceedance_rate", "decides", "embedder"))
    replays = replayed(installation)
    assert replays.replays[0].num_as_recorded == 1
    assert "1 day counts as judged then: their rates were not recorded yet" in describe(replays)
    assert not math.isnan(replays.replays[0].cost)


def register(installation: Installation, *, time: datetime, seconds: float) -> None:
    """Make the next version what a cycle made, and the champion."""
    ModelManifest(
        model_version=CANDIDATE,
        application="helpdesk",
        base_model_sha256="0",
        created_at=time,
        code_version="0",
        metrics={"seconds": seconds},
    ).write(installation.model(CANDIDATE))
    known = {"time": time, "reason": "better", "run_id": "r1"}
    installation.registry.register("helpdesk", CANDIDATE, **known)
    installation.registry.promote("helpdesk", CANDIDATE, **known)


def test_cycles_before_the_first_day_hold_back_and_say_how_long_the_next_one_takes(
    installation: Installation,
) -> None:
    fill(installation)
    start = MOVED_ON + 1
    register(installation, time=at(start - 2), seconds=5 * 3600)
    own = replayed(installation, first=start - 1).replays[0]
    # A warm-up of 24 hours after the promotion at noon is over at the end of the next day.
    assert [(event.day, event.hours) for event in own.starts] == [(day(start), 5.0)]
    register_at = replayed(installation, first=start - 2).registered
    assert register_at == [(day(start - 2), CANDIDATE)]


def test_versions_that_were_really_made_in_these_days_are_told(installation: Installation) -> None:
    fill(installation)
    register(installation, time=at(8), seconds=60.0)
    replays = replayed(installation, first=0)
    assert replays.registered == [(day(8), CANDIDATE)]
    assert f"registered in truth: {CANDIDATE} on 2026-03-09" in describe(replays)
