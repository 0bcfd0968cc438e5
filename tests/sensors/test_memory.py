from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.sensors.memory import Memory


def test_a_cursor_is_short_and_stands_for_all_that_is_known(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.read(None) is None
    cursor = memory.write("{}" * 100_000, last_cursor=None)
    assert len(cursor) == 32
    assert memory.read(cursor) == "{}" * 100_000


def test_a_look_that_failed_is_repeated_with_what_was_known_before_it(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    before = memory.write("one", last_cursor=None)
    memory.write("two", last_cursor=before)  # its cursor is lost
    assert memory.read(before) == "one"
    memory.write("three", last_cursor=before)
    assert memory.read(before) == "one"


def test_the_cursor_of_earlier_versions_is_read(tmp_path: Path) -> None:
    assert Memory(tmp_path).read('{"a":[1,2,3]}') == '{"a":[1,2,3]}'


def test_without_its_file_nothing_is_known(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    cursor = memory.write("one", last_cursor=None)
    (tmp_path / f"{cursor}.json").unlink()
    assert memory.read(cursor) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(looks=st.lists(st.tuples(st.text(), st.booleans()), max_size=12))
def test_what_the_stored_cursor_names_is_always_there(
    tmp_path: Path, looks: list[tuple[str, bool]]
) -> None:
    memory, stored, known = Memory(tmp_path), None, None
    for content, is_stored in looks:
        cursor = memory.write(content, last_cursor=stored)
        if is_stored:
            stored, known = cursor, content
        assert memory.read(stored) == known
        assert len(list(tmp_path.glob("*.json"))) <= 2 + (stored is None)
