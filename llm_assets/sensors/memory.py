"""What a sensor knows of thousands of days, kept in a file that its cursor names.

Dagster stores the cursor with every look, many thousand times a day, so it must be small. The file
that the last cursor named stays until the next cursor is stored: a look that fails is repeated
with what was known before it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from llm_assets.storage import write_atomically

# The cursor of earlier versions was the knowledge itself.
_INLINE = "{"


@dataclass(frozen=True)
class Memory:
    """The files of one sensor."""

    folder: Path

    def read(self, cursor: str | None) -> str | None:
        """Return what the cursor stands for; None at the start, and where its file is gone."""
        if cursor is None or cursor.startswith(_INLINE):
            return cursor
        try:
            return self._path(cursor).read_bytes().decode()
        except FileNotFoundError:
            return None

    def write(self, content: str, *, last_cursor: str | None) -> str:
        """Keep what is to be known at the next look, and return the cursor for it."""
        cursor = hashlib.sha256(content.encode()).hexdigest()[:32]
        if not self._path(cursor).exists():
            write_atomically(self._path(cursor), content.encode())
        for path in self.folder.glob("*.json"):
            if path.stem not in (cursor, last_cursor):
                path.unlink(missing_ok=True)
        return cursor

    def _path(self, cursor: str) -> Path:
        return self.folder / f"{cursor}.json"
