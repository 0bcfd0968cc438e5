"""The files that are ingested: which ones, and their content, decompressed block by block.

Compression is recognised by a file's first bytes, whatever its name.
"""

import hashlib
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from llm_assets.errors import UserError

_BLOCK_BYTES = 2**20
_LOG_NAME = re.compile(r"\.(json|jsonl|ndjson|log)(\.(gz|zst))?$", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# A decoder tells that an archive ends too early instead of giving what it has, so this is how much
# of the end of a torn one is lost.
_ZSTD_STEP_BYTES = 4096


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files themselves, and the logs in folders and below them, in order of names.

    In a folder only names that look like logs count, and hidden files and folders do not.

    Raises:
        UserError: something cannot be read, or a folder holds no log.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = _logs_in(path) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path}: holds no log (.json .jsonl .ndjson .log, also .gz and .zst)")
        found.update(dict.fromkeys(files))
    for file in found:
        if not file.exists() or not os.access(file, os.R_OK):
            problem = "Permission denied" if file.exists() else "No such file or directory"
            raise UserError(f"{file}: cannot be read: {problem}")
    return list(found)


def _logs_in(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}")

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in sorted(names)
            if not name.startswith(".") and _LOG_NAME.search(name) and Path(parent, name).is_file()
        ]
    return found


class LogFile:
    """One pass over a file; `sha256` is that of what was read of it so far, as it lies there."""

    def __init__(self, path: Path, on_read: Callable[[int], None] = lambda _: None) -> None:
        self.path = path
        self._on_read = on_read
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash in hexadecimal."""
        return self._hash.hexdigest()

    def blocks(self) -> Iterator[bytes]:
        """Yield the content in blocks of about 1 MiB.

        Raises:
            UserError: it cannot be read on, or the archive is damaged; what came before was given.
        """
        try:
            with self.path.open("rb") as file:
                raw = self._raw_blocks(file)
                first = next(raw, b"")
                rest = _chained(first, raw)
                try:
                    if first.startswith(_GZIP):
                        yield from _gunzipped(rest)
                    elif first.startswith(_ZSTD):
                        yield from _unzstd(rest)
                    else:
                        yield from rest
                except UserError:
                    deque(raw, maxlen=0)  # the hash is of the whole file
                    raise
        except OSError as error:
            raise UserError(f"cannot be read to its end: {error.strerror or error}") from None

    def _raw_blocks(self, file: IO[bytes]) -> Iterator[bytes]:
        while block := file.read(_BLOCK_BYTES):
            self._hash.update(block)
            self._on_read(len(block))
            yield block


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _gunzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress one member after the other; zeros after a member are padding."""
    decoder = None
    for block in blocks:
        while block:
            if decoder is None:
                block = block.lstrip(b"\0")
                if not block:
                    break
                decoder = zlib.decompressobj(wbits=31)
            try:
                content = decoder.decompress(block, _BLOCK_BYTES)
            except zlib.error:
                raise UserError("the archive is damaged") from None
            if content:
                yield content
            block = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        yield decoder.flush()
        raise UserError("the archive is truncated")


def _unzstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    import pyarrow as pa

    content = bytearray()
    problem = None
    with pa.CompressedInputStream(pa.PythonFile(_Readable(blocks), mode="r"), "zstd") as stream:
        try:
            while step := stream.read(_ZSTD_STEP_BYTES):
                content += step
                if len(content) >= _BLOCK_BYTES:
                    yield bytes(content)
                    content.clear()
        except OSError as error:
            is_torn = "Truncated" in str(error)
            problem = f"the archive is {'truncated' if is_torn else 'damaged'}"
    if content:
        yield bytes(content)
    if problem:
        raise UserError(problem)


class _Readable:
    """The part of a file's interface that pyarrow reads through."""

    closed = False

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def read(self, num_bytes: int) -> bytes:
        if not self._rest:
            self._rest = next(self._blocks, b"")
        given, self._rest = self._rest[:num_bytes], self._rest[num_bytes:]
        return given

    def close(self) -> None:
        self.closed = True
