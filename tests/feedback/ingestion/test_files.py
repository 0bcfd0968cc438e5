import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.ingestion.files import LogFile, find_files

# More than one block, and not the same text over and over: an archive of it has many parts.
_RANDOM = random.Random(1)
CONTENT = b"\n".join(b"%d" % _RANDOM.getrandbits(64) for _ in range(100_000))


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    "content",
    [
        CONTENT,
        gzip.compress(CONTENT),
        gzip.compress(CONTENT[:999]) + gzip.compress(CONTENT[999:]) + bytes(512),
        zstd(CONTENT),
        zstd(CONTENT[:999]) + zstd(CONTENT[999:]),
    ],
    ids=["plain", "gzip", "gzip of several members", "zstd", "zstd of several frames"],
)
def test_compression_is_told_from_the_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(content)
    sizes: list[int] = []
    file = LogFile(path, sizes.append)
    assert b"".join(file.blocks()) == CONTENT
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert sum(sizes) == len(content)


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_torn_archive_gives_what_came_before_the_tear(
    tmp_path: Path, compress: Callable[[bytes], bytes], share: float
) -> None:
    path = tmp_path / "log.gz"
    content = compress(CONTENT)
    path.write_bytes(content[: int(len(content) * share)])
    given, problem = b"", ""
    try:
        for block in LogFile(path).blocks():
            given += block
    except UserError as error:
        problem = str(error)
    assert problem == "the archive is truncated"
    assert CONTENT.startswith(given)
    # A block of zstd is 128 KiB, and of a torn one nothing is left.
    assert len(given) > len(CONTENT) * share - 2**18


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_damaged_archive_is_one_clear_line_and_hashed_to_its_end(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "log"
    content = compress(CONTENT)
    path.write_bytes(content + b"no archive" + bytes(3 * 2**20))
    file = LogFile(path)
    with pytest.raises(UserError, match=r"^the archive is damaged$"):
        list(file.blocks())
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_empty_file_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert list(LogFile(path).blocks()) == []


def test_of_a_folder_only_what_looks_like_a_log_is_read_in_order(tmp_path: Path) -> None:
    names = "b/2.jsonl.gz b/1.NDJSON a.json c.log d.txt .hidden.json .git/e.json f.jsonl.zst g.gz"
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path])]
    assert found == ["a.json", "c.log", "f.jsonl.zst", "b/1.NDJSON", "b/2.jsonl.gz"]


def test_a_file_that_is_named_is_read_whatever_its_name_and_once(tmp_path: Path) -> None:
    path = tmp_path / ".export.txt"
    path.touch()
    assert find_files([path, path]) == [path]


def test_a_folder_without_logs_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no log \(.json"):
        find_files([tmp_path])
    with pytest.raises(UserError, match=r"missing\.json: cannot be read: No such file"):
        find_files([tmp_path / "missing.json"])
