from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from llm_assets.drift.detectors.calibration import Calibrated
from llm_assets.drift.detectors.novelty import Novelty
from llm_assets.drift.detectors.topic_growth import TopicGrowth, topic_growth
from llm_assets.drift.topics import TOPIC_SCHEMA, Topic, topic_table, what_moved
from llm_assets.intervals import Interval
from tests.drift.vectors import topic, unit

DIMENSIONS = 16
SUBJECTS = ("cat", "dog", "sun", "sea", "refund", "parcel", "invoice", "password")
BEFORE = [100, 100, 100, 100, 0, 0, 0, 0]


def a_result(score: float = 0.0, effect_size: float = 0.0) -> Calibrated:
    return Calibrated(score, 0.0, 0.5, Interval(0.0, 0.0), effect_size)


class Day:
    """A baseline and a window whose prompts are of so many of each subject, one cell a subject."""

    def __init__(self, today: Sequence[int], **users: Any) -> None:
        self.cells = np.repeat(np.arange(len(today)), today)
        self.baseline_cells = np.repeat(np.arange(len(BEFORE)), BEFORE)
        self.vectors = self._vectors(self.cells)
        self.baseline_vectors = self._vectors(self.baseline_cells)
        self.prompts = [f"about {SUBJECTS[cell]} {row}" for row, cell in enumerate(self.cells)]
        num = len(self.cells)
        columns = {
            "request_id": [f"r{row}" for row in range(num)],
            "prompt": self.prompts,
            "user_id": [f"u{row}" for row in range(num)],
            "session_id": [None] * num,
        }
        schema = dict.fromkeys(columns, pl.String)
        self.rows = pl.DataFrame({**columns, **users}, schema=schema)
        self.novel: Novelty | None = None

    def _vectors(self, cells: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        parts = [topic(1, centre=int(cell), rng=rng, dimensions=DIMENSIONS) for cell in cells]
        return np.concatenate(parts)

    def topics(self) -> list[Topic]:
        centres = np.eye(len(SUBJECTS), DIMENSIONS, dtype=np.float32)
        growth = TopicGrowth(
            a_result(), centres, self.cells, self.baseline_cells, np.zeros(len(SUBJECTS))
        )
        baseline = [f"about {SUBJECTS[cell]}" for cell in self.baseline_cells]
        return what_moved(
            self.rows, self.vectors, baseline, self.baseline_vectors, growth, self.novel
        )


def test_a_subject_that_nobody_asked_of_before_is_a_topic() -> None:
    day = Day([45, 45, 45, 45, 20])
    (found,) = day.topics()
    assert (found.kind, found.public_name) == ("grown", "refund")
    assert (found.num_prompts, found.n, found.num_baseline) == (20, 200, 400)
    assert (found.share, found.baseline_share) == (0.1, 0.0)
    assert 0 < found.interval.low < 0.1 < found.interval.high
    assert found.rows.tolist() == list(range(180, 200))


def test_a_known_subject_that_is_asked_far_more_often_is_a_topic() -> None:
    (found,) = Day([90, 40, 40, 40]).topics()
    assert found.baseline_share == 0.25
    assert found.num_prompts == 90


def test_the_topic_that_grew_most_comes_first() -> None:
    found = Day([40, 40, 40, 40, 10, 30, 20]).topics()
    assert [part.public_name for part in found] == ["parcel", "invoice", "refund"]


def test_nothing_is_found_where_nothing_moved() -> None:
    assert Day([50, 50, 50, 50]).topics() == []
    day = Day([45, 45, 45, 45, 20])
    assert what_moved(day.rows, day.vectors, [], day.baseline_vectors, None, None) == []


def test_when_nothing_has_changed_topics_are_found_on_few_days_only() -> None:
    rng = np.random.default_rng(1)
    num_days, num_found = 300, 0
    vectors = topic(500, centre=0, rng=rng)
    rows = Day([200]).rows
    for _ in range(num_days):
        cells = rng.integers(0, 40, 500)
        growth = TopicGrowth(a_result(), np.zeros((40, 16)), cells[:200], cells[200:], np.zeros(40))
        found = what_moved(rows, vectors[:200], ["x"] * 300, vectors[200:], growth, None)
        num_found += bool(found)
    # Binomial with 0.05: more than 26 of 300 come once in 500 times.
    assert num_found <= 26


def test_alike_cells_are_one_topic_and_unlike_ones_several() -> None:
    day = Day([45, 45, 45, 45, 10, 10, 10])
    assert len(day.topics()) == 3
    is_new = day.cells >= 4
    rng = np.random.default_rng(2)
    day.vectors[is_new] = topic(30, centre=9, rng=rng, dimensions=DIMENSIONS)
    (found,) = day.topics()
    assert found.num_prompts == 30


def test_an_embedder_that_puts_all_texts_close_together_parts_topics_too() -> None:
    day = Day([45, 45, 45, 45, 10, 10, 10])
    offset = np.full(DIMENSIONS, 2.0)
    day.vectors, day.baseline_vectors = (
        unit(vectors + offset) for vectors in (day.vectors, day.baseline_vectors)
    )
    assert len(day.topics()) == 3


def test_topics_in_the_middle_of_the_baseline_are_apart_from_each_other() -> None:
    day = Day([45, 45, 45, 45, 10, 10, 10])
    day.vectors[day.cells >= 4] = day.baseline_vectors[:] = 0.25
    assert len(day.topics()) == 3


def test_cells_of_the_detector_lead_to_the_new_topic() -> None:
    rng = np.random.default_rng(3)
    known = unit(rng.normal(size=(780, DIMENSIONS)))
    new = unit(known[0] + rng.normal(0, 0.05, (20, DIMENSIONS)))
    current, baseline = np.concatenate([known[:180], new]), known[180:]
    growth = topic_growth(current, baseline, false_alarm_rate=0.05, rng=rng)
    found, *_ = what_moved(Day([200]).rows, current, ["x"] * 600, baseline, growth, None)
    assert set(range(180, 200)) <= set(found.rows.tolist())
    assert {prompt.request_id for prompt in found.prompts} <= {f"r{row}" for row in found.rows}


def with_novel(day: Day, novel_rows: Sequence[int]) -> Day:
    distances = np.full(len(day.vectors), 0.1)
    distances[novel_rows] = 0.8 + 0.001 * np.arange(len(novel_rows))
    score = len(novel_rows) / len(day.vectors)
    day.novel = Novelty(a_result(score, score - 0.05), distances, 0.5)
    return day


def test_scattered_novel_prompts_are_a_topic_whose_farthest_are_shown_first() -> None:
    (found,) = with_novel(Day([50, 50, 50, 50]), list(range(0, 200, 5))).topics()
    assert (found.kind, found.public_name) == ("novel", "novel prompts")
    assert found.num_prompts == 40
    assert found.baseline_share == pytest.approx(0.05)
    expected = ["r195", "r190", "r185", "r180", "r175"]
    assert [prompt.request_id for prompt in found.prompts] == expected


def test_as_many_novel_prompts_as_ever_are_no_topic() -> None:
    assert with_novel(Day([50, 50, 50, 50]), range(0, 200, 20)).topics() == []


def test_novel_prompts_of_a_topic_that_grew_are_not_told_twice() -> None:
    day = with_novel(Day([45, 45, 45, 45, 20]), range(180, 200))
    assert [part.kind for part in day.topics()] == ["grown"]
    day = with_novel(Day([45, 45, 45, 45, 20]), range(140, 200))
    grown, novel = day.topics()
    assert not set(grown.rows.tolist()) & set(novel.rows.tolist())


def test_typical_prompts_are_distinct_and_stand_beside_their_own_requests() -> None:
    day = Day([45, 45, 45, 45, 20])
    texts = day.prompts[:180] + ["Where is my refund?", "where is my REFUND"] * 10
    day.rows = day.rows.with_columns(prompt=pl.Series(texts))
    (found,) = day.topics()
    (only,) = found.prompts
    assert texts[int(only.request_id[1:])] == only.prompt
    assert len(Day([45, 45, 45, 45, 20]).topics()[0].prompts) == 5


@pytest.mark.parametrize(
    ("users", "is_named"),
    [
        ({"user_id": ["u"] * 200}, False),
        ({"user_id": [f"u{row % 4}" for row in range(200)]}, False),
        ({"user_id": [f"u{row % 5}" for row in range(200)]}, True),
        ({"user_id": [None] * 200, "session_id": ["s"] * 200}, False),
        ({"user_id": [None] * 200, "session_id": [f"s{row}" for row in range(200)]}, True),
        ({"user_id": [None] * 200}, True),
        ({"user_id": ["u"] * 200, "session_id": [f"s{row}" for row in range(200)]}, False),
    ],
)
def test_a_name_takes_five_users_who_are_known_by_user_session_or_request(
    users: dict[str, list[str | None]], is_named: bool
) -> None:
    (found,) = Day([45, 45, 45, 45, 20], **users).topics()
    assert found.public_name == ("refund" if is_named else "unnamed topic 1")


def test_topics_become_rows_whose_text_stands_beside_a_request_only() -> None:
    found = Day([40, 40, 40, 40, 10, 30]).topics()
    table = topic_table(found)
    assert table.schema == topic_table([]).schema == TOPIC_SCHEMA
    assert table["rank"].to_list() == [*range(6), *range(6)]
    assert table["topic"].to_list() == [1] * 6 + [2] * 6
    assert table.filter(pl.col("prompt").is_null())["rank"].to_list() == [0, 0]
    assert table["prompt"].is_null().equals(table["request_id"].is_null())
    shown = table.filter(pl.col("rank") == 1).row(0, named=True)
    assert (shown["prompt"], shown["request_id"]) == tuple(found[0].prompts[0])
    assert (shown["share"], shown["n"], shown["num_baseline"]) == (30 / 200, 200, 400)
