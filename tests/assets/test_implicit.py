from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from llm_assets.assets.feedback import interaction_logs
from llm_assets.assets.implicit import implicit_feedback
from llm_assets.assets.partitions import partition_key
from llm_assets.curation.config import CurationConfig
from llm_assets.curation.votes import collect_votes
from llm_assets.drift.embedding import embeddings
from llm_assets.drift.embedding.embeddings import EmbeddingCache
from llm_assets.drift.embedding.minilm import NUM_DIMENSIONS, MiniLM
from llm_assets.drift.quality import quality_scores
from llm_assets.feedback.implicit.rules import CODE_VERSION
from llm_assets.feedback.tables import FEEDBACK_SCHEMA, interaction_table
from llm_assets.installation import Installation
from llm_assets.records import Interaction
from llm_assets.storage import Partition
from tests.assets.materialize import Materialize
from tests.records import TIME, an_interaction

DAY = TIME.date()
NEXT = DAY + timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
NUM_SESSIONS = 60


class Topics:
    """Stands in for MiniLM: the prompts "… number N …" lie in the same place if N is the same."""

    name = MiniLM.name

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return a direction for each number, drawn once, and slightly moved by each prompt."""
        rows = []
        for prompt in prompts:
            number = int("".join(filter(str.isdigit, prompt)) or 10_000)
            row = np.random.default_rng(number).standard_normal(NUM_DIMENSIONS)
            row[len(prompt) % NUM_DIMENSIONS] += 1.0
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, np.float32)


def write(installation: Installation, interactions: Sequence[Interaction]) -> None:
    """Write interactions as days of the log's table, and their vectors into the cache."""
    for day in {interaction.date for interaction in interactions}:
        rows = interaction_table([i for i in interactions if i.date == day])
        partition = Partition(application="helpdesk", date=day)
        installation.table("interaction_logs").write(partition, rows)
        prompts = rows["prompt"].to_list()
        cache = EmbeddingCache(installation.lance)
        embeddings.embed(prompts, cache=cache, embedder=Topics())


def traffic() -> list[Interaction]:
    """Return sessions of two questions each; every fifth user asks the same in other words."""
    interactions = []
    for number in range(NUM_SESSIONS):
        second = number if number % 5 == 0 else number + 1000
        for turn, prompt in enumerate(
            [f"please explain topic number {number}", f"what about number {second}, then?"]
        ):
            time = TIME + timedelta(seconds=10 * number + 60 * turn)
            fields: dict[str, Any] = {"time": time, "session_id": f"s{number:02d}"}
            interactions.append(an_interaction(f"r{number}-{turn}", prompt=prompt, **fields))
    return interactions


def found(result: Any) -> dict[str, dict[str, Any]]:
    return {
        event.partition: {name: value.value for name, value in event.metadata.items()}
        for event in result.asset_materializations_for_node("implicit_feedback")
    }


@pytest.fixture
def key() -> str:
    return str(partition_key(Partition(application="helpdesk", date=DAY)))


def test_questions_that_were_asked_again_in_other_words_are_found_over_a_calibrated_threshold(
    installation: Installation, materialize: Materialize, key: str
) -> None:
    write(installation, traffic())
    metadata = found(materialize.days(DAY, DAY, implicit_feedback))[key]
    signals = installation.implicit_feedback("helpdesk")
    rephrased = signals.filter(pl.col("kind") == "rephrase")
    assert set(rephrased["request_id"]) == {f"r{n}-0" for n in range(0, NUM_SESSIONS, 5)}
    assert metadata["num_rephrase"] == rephrased.height == NUM_SESSIONS // 5
    assert metadata["num_abandon"] == NUM_SESSIONS // 5
    assert metadata["dagster/partition_row_count"] == signals.height
    assert (metadata["num_sessions"], metadata["num_candidate_pairs"]) == (60, 60)
    assert 0.6 <= metadata["rephrase_threshold"] < 1
    assert metadata["similarity"].startswith("![similarity")
    assert signals.schema == FEEDBACK_SCHEMA


def test_with_few_sessions_nothing_is_rephrased_and_the_metadata_say_why(
    installation: Installation, materialize: Materialize, key: str
) -> None:
    write(installation, traffic()[:20])
    metadata = found(materialize.days(DAY, DAY, implicit_feedback))[key]
    assert metadata["num_rephrase"] == 0
    assert "too few pairs" in metadata["reason"]
    assert "rephrase_threshold" not in metadata
    assert installation.implicit_feedback("helpdesk").is_empty()


def test_a_log_without_sessions_gives_nothing_and_loads_no_vectors(
    installation: Installation, materialize: Materialize, key: str
) -> None:
    rows = interaction_table([an_interaction("r1"), an_interaction("r2")])
    partition = Partition(application="helpdesk", date=DAY)
    installation.table("interaction_logs").write(partition, rows)
    metadata = found(materialize.days(DAY, NEXT, implicit_feedback))[key]
    assert (metadata["num_sessions"], metadata["dagster/partition_row_count"]) == (0, 0)
    assert installation.table("implicit_feedback").dates("helpdesk") == []
    assert not installation.lance.exists()


def test_a_session_that_crosses_midnight_is_one_session_and_each_signal_stands_on_its_day(
    installation: Installation, materialize: Materialize
) -> None:
    def at(minutes: int, request_id: str, prompt: str, response: str = "Yes.") -> Interaction:
        time = MIDNIGHT + timedelta(minutes=minutes)
        fields: dict[str, Any] = {"session_id": "s", "time": time}
        return an_interaction(request_id, prompt=prompt, response=response, **fields)

    write(
        installation,
        [
            at(-9, "r1", "hello"),
            at(-8, "r2", "wrong"),
            at(2, "r3", "that's not what I meant", "I cannot help with that."),
        ],
    )
    materialize.days(DAY, NEXT, implicit_feedback)
    by_day = [
        installation.implicit_feedback("helpdesk", day, day).select("kind", "request_id").rows()
        for day in (DAY, NEXT)
    ]
    assert by_day == [
        [("correction_phrase", "r1")],
        [("correction_phrase", "r2"), ("abandon", "r3")],
    ]


def test_working_through_a_day_again_replaces_what_other_rules_found(
    installation: Installation, materialize: Materialize
) -> None:
    write(installation, traffic())
    partition = Partition(application="helpdesk", date=DAY)
    materialize.days(DAY, DAY, implicit_feedback)
    once = installation.table("implicit_feedback").generation(partition)
    materialize.days(DAY, DAY, implicit_feedback)
    assert installation.table("implicit_feedback").generation(partition) == once
    silent = interaction_table([an_interaction("r1", session_id="s")])
    installation.table("interaction_logs").write(partition, silent)
    materialize.days(DAY, DAY, implicit_feedback)
    assert installation.implicit_feedback("helpdesk").is_empty()


def test_the_version_of_the_code_is_that_of_the_rules() -> None:
    assert implicit_feedback.code_versions_by_key[implicit_feedback.key] == CODE_VERSION


def test_signals_of_rules_count_as_no_opinion_of_a_user(
    installation: Installation, materialize: Materialize
) -> None:
    write(installation, traffic())
    materialize.days(DAY, DAY, implicit_feedback)
    signals = installation.implicit_feedback("helpdesk")
    interactions = installation.interactions("helpdesk")
    assert not signals.is_empty()
    assert installation.feedback("helpdesk").is_empty()
    # Not even where a client sends the same kinds as its feedback.
    partition = Partition(application="helpdesk", date=DAY)
    installation.table("feedback_logs").write(partition, signals)
    feedback = installation.feedback("helpdesk")
    assert feedback.height == signals.height
    rates = quality_scores(interactions, feedback)
    satisfaction, corrections = (
        rates.row(by_predicate=pl.col("metric") == metric, named=True)
        for metric in ("satisfaction_rate", "correction_rate")
    )
    assert satisfaction["n"] == corrections["num_events"] == 0
    votes, _ = collect_votes(interactions, feedback, config=CurationConfig())
    assert votes.is_empty()


def test_the_day_before_is_an_input_and_the_log_is_not_changed(
    installation: Installation, materialize: Materialize
) -> None:
    write(installation, traffic())
    before = installation.table("interaction_logs").dates("helpdesk")
    materialize.days(DAY, NEXT, interaction_logs, implicit_feedback)
    assert installation.table("interaction_logs").dates("helpdesk") == before
