import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.rollouts import tail as module
from llm_assets.rollouts.tail import Tail


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def read(tail: Tail) -> list[bytes]:
    return list(tail.lines())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def tail(log: Path) -> Tail:
    return Tail(lambda: [log.with_name("old"), log])


def test_what_is_not_there_yet_has_no_lines(tail: Tail) -> None:
    assert read(tail) == []


def test_each_line_is_read_once_and_only_when_it_is_complete(log: Path, tail: Tail) -> None:
    append(log, b"one\ntwo\nthr")
    assert read(tail) == [b"one", b"two"]
    assert read(tail) == []
    append(log, b"ee\n")
    assert read(tail) == [b"three"]
    append(log, b"torn")
    assert read(tail) == []


def test_a_renamed_file_is_not_new(log: Path, tail: Tail) -> None:
    append(log, b"one\n")
    assert read(tail) == [b"one"]
    append(log, b"two\n")
    log.rename(log.with_name("old"))
    append(log, b"three\n")
    assert read(tail) == [b"two", b"three"]
    assert read(tail) == []


def test_a_file_that_was_missed_while_it_was_renamed_is_not_new_afterwards(
    log: Path, tail: Tail
) -> None:
    append(log, b"one\n")
    assert read(tail) == [b"one"]
    log.rename(log.with_name("between"))
    assert read(tail) == []
    log.with_name("between").rename(log.with_name("old"))
    assert read(tail) == []


@pytest.mark.parametrize("content", [b"four\n", b"five\nsix\nseven\neight\n"])
def test_a_file_that_was_cut_or_written_over_is_read_from_its_beginning(
    log: Path, tail: Tail, content: bytes
) -> None:
    append(log, b"one\ntwo\nthree\n")
    read(tail)
    inode = log.stat().st_ino
    os.truncate(log, 0)
    append(log, content)
    assert log.stat().st_ino == inode
    assert read(tail) == content.splitlines()


def test_a_file_that_was_replaced_is_read_from_its_beginning(log: Path, tail: Tail) -> None:
    append(log, b"one\ntwo\n")
    read(tail)
    other = log.with_name("other")
    append(other, b"two\nthree\n")
    other.replace(log)
    assert read(tail) == [b"two", b"three"]


def test_a_long_file_is_read_in_pieces(
    log: Path, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 7)
    lines = [b"x" * number for number in range(40)]
    append(log, b"".join(line + b"\n" for line in lines))
    assert read(tail) == lines
    assert read(tail) == []


# Every line of a log has a time or an id of its own, by which files of the same inode differ.
_LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b" ")), unique=True)


@given(_LINES, st.data())
def test_however_the_writing_is_chopped_each_line_comes_once_and_in_order(
    lines: list[bytes], data: st.DataObject
) -> None:
    content = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    found: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        tail = Tail(lambda: [log.with_name("old"), log])
        for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            append(log, content[start:end])
            found += tail.lines()
            is_whole = content[:end].endswith(b"\n")
            if is_whole and data.draw(st.booleans()):
                log.rename(log.with_name("old"))
                found += tail.lines()
    assert found == lines
