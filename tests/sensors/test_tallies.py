import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.sensors import tallies as module
from llm_assets.sensors.tallies import Counts, Tallies

DAYS = [date(2026, 3, day) for day in range(1, 5)]


class Counting:
    """Counts what stands in `found`, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.found: dict[date, Counts] = {}
        self.asked: list[date] = []

    def __call__(self, days: Sequence[date]) -> Mapping[date, Counts]:
        self.asked += days
        return {day: self.found[day] for day in days if day in self.found}


def test_only_what_has_changed_is_counted_again(tmp_path: Path) -> None:
    count = Counting()
    count.found = {DAYS[0]: (1, 2), DAYS[1]: (3, 4)}
    fingerprints = dict.fromkeys(DAYS[:2], "one")
    for _ in range(2):
        assert Tallies(tmp_path).of("words", fingerprints, count) == count.found
    assert count.asked == DAYS[:2]
    count.found[DAYS[1]] = (5, 6)
    assert Tallies(tmp_path).of("words", {**fingerprints, DAYS[1]: "two"}, count) == count.found
    assert count.asked == [*DAYS[:2], DAYS[1]]


def test_a_day_of_which_nothing_is_said_is_asked_for_once(tmp_path: Path) -> None:
    count = Counting()
    for _ in range(2):
        assert Tallies(tmp_path).of("words", {DAYS[0]: "one"}, count) == {DAYS[0]: ()}
    assert count.asked == [DAYS[0]]


def test_a_damaged_file_is_counted_again(tmp_path: Path) -> None:
    count = Counting()
    count.found = {DAYS[0]: (7,)}
    (tmp_path / "words.json").write_text('{"2026-03-01": [1')
    assert Tallies(tmp_path).of("words", {DAYS[0]: "one"}, count) == {DAYS[0]: (7,)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(states=st.lists(st.dictionaries(st.sampled_from(DAYS), st.integers(0, 3)), max_size=8))
def test_whatever_changes_the_counts_are_those_of_now(
    tmp_path: Path, states: list[dict[date, int]]
) -> None:
    count = Counting()
    for state in states:
        count.found = {day: (value, 2 * value) for day, value in state.items()}
        fingerprints = {day: f"{value}" for day, value in state.items()}
        assert Tallies(tmp_path).of("words", fingerprints, count) == count.found


def test_a_large_file_is_hashed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def sha256_of(path: Path) -> str:
        hashed.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(module, "sha256_of", sha256_of)
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    for path, content in ((first, b"one"), (first, b"one"), (second, b"two"), (second, b"two")):
        assert Tallies(tmp_path).sha256_of(path) == hashlib.sha256(content).hexdigest()
    assert hashed == [first, second]
    second.write_bytes(b"six")
    os.utime(second, ns=(1, 1))
    assert Tallies(tmp_path).sha256_of(second) == hashlib.sha256(b"six").hexdigest()
