"""Reading files that others append to: each complete line once, whatever is renamed meanwhile."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

_CHUNK_BYTES = 4 * 2**20
_HEAD_BYTES = 200


class _Read(NamedTuple):
    """How far a file was read, how it began, and in which look it was last there."""

    offset: int
    head: bytes
    look: int


@dataclass
class Tail:
    """The new lines of some files.

    A file is known by its inode and its beginning: a renamed one is not new, and one that was
    rewritten, or that got the inode of another, is read from its beginning. So the first lines of
    two files must differ, as they do by their times and ids.
    """

    files: Callable[[], Iterable[Path]]
    _read: dict[int, _Read] = field(default_factory=dict)
    _look: int = 0

    def lines(self) -> Iterator[bytes]:
        """Yield the complete lines that were added since the last call."""
        self._look += 1
        for path in self.files():
            try:
                with path.open("rb") as file:
                    yield from self._new_lines(file)
            except FileNotFoundError:
                continue  # renamed or removed since it was listed
        # One that was being renamed may have been missed once; its inode is not another's so soon.
        self._read = {i: read for i, read in self._read.items() if read.look >= self._look - 1}

    def _new_lines(self, file: BinaryIO) -> Iterator[bytes]:
        inode = os.fstat(file.fileno()).st_ino
        offset, head, _ = self._read.get(inode, _Read(0, b"", 0))
        if file.read(len(head)) != head or os.fstat(file.fileno()).st_size < offset:
            offset, head = 0, b""
        self._read[inode] = _Read(offset, head, self._look)
        file.seek(offset)
        rest = b""
        while chunk := file.read(_CHUNK_BYTES):
            lines, end, rest = (rest + chunk).rpartition(b"\n")
            if not end:
                continue
            head = head or (lines + end)[:_HEAD_BYTES]
            offset += len(lines) + len(end)
            self._read[inode] = _Read(offset, head, self._look)
            yield from lines.split(b"\n")
