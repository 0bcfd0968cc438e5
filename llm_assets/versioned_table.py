"""Lance tables of which each version is kept under a name, e.g. that of a model version."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llm_assets.errors import UserError
from llm_assets.storage import locked

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class VersionedTable:
    """A table that is replaced as a whole, with a tag on every state that was written.

    A tag is read exactly as it was written, whatever was written later. There must be one writer
    at a time: the tag is put on the newest version, which must be the writer's own. The table is
    opened anew for each call, because a handle that is kept does not see later writes.
    """

    root: Path
    name: str

    def write(self, tag: str, frame: "pl.DataFrame") -> int:
        """Replace the content, tag it, and return Lance's version number.

        A tag that exists moves to the new content. A crash before the tag is put leaves an
        untagged version that nobody reads.
        """
        with locked(self._lock, alone=False):
            return self._write(tag, frame)

    def rewrite(self, change: "Callable[[pl.DataFrame], pl.DataFrame]") -> dict[str, int]:
        """Let `change` take rows away at every tag, and return how many each tag lost.

        What stands under no tag is gone afterwards, from the disk too. Readers and writers wait;
        a crash leaves every tag readable, before or after its change.
        """
        lost: dict[str, int] = {}
        if self._open() is None:
            return lost
        with locked(self._lock, alone=True):
            before = last_written(self._open())
            frames = {tag: self._read(tag) for tag in self.tags()}
            if not frames:
                shutil.rmtree(self._folder)
                return lost
            for tag, frame in frames.items():
                kept = change(frame)
                self._write(tag, kept)
                if kept.height < frame.height:
                    lost[tag] = frame.height - kept.height
            forget_versions(self._open(), written_until=before)
        return lost

    def read(self, tag: str) -> "pl.DataFrame":
        """Return the rows at a tag.

        Raises:
            UserError: nothing was written under the tag.
        """
        if self._open() is None:
            raise self._nothing(tag)
        with locked(self._lock, alone=False):
            return self._read(tag)

    def tags(self) -> list[str]:
        """Return the tags in alphabetical order; none where nothing was written yet."""
        table = self._open()
        return [] if table is None else sorted(table.tags.list())

    @property
    def _folder(self) -> Path:
        return self.root / f"{self.name}.lance"

    @property
    def _lock(self) -> Path:
        return self.root / f".{self.name}.lock"

    def _write(self, tag: str, frame: "pl.DataFrame") -> int:
        import lancedb

        self.root.mkdir(parents=True, exist_ok=True)
        # Overwriting keeps the earlier versions and their tags; dropping would lose both.
        table = lancedb.connect(self.root).create_table(
            self.name, frame.to_arrow(), mode="overwrite"
        )
        if tag in table.tags.list():
            table.tags.update(tag, table.version)
        else:
            table.tags.create(tag, table.version)
        return table.version

    def _read(self, tag: str) -> "pl.DataFrame":
        import polars as pl

        table = self._open()
        if table is None or tag not in table.tags.list():
            raise self._nothing(tag)
        table.checkout(tag)
        return cast(pl.DataFrame, pl.from_arrow(table.to_arrow()))

    def _nothing(self, tag: str) -> UserError:
        return UserError(f"{self.root / self.name}: nothing was written for {tag!r}")

    def _open(self) -> Any:
        if not self._folder.exists():
            return None
        import lancedb

        return lancedb.connect(self.root).open_table(self.name)


# Lance is told an age and looks at its clock later, on a busy machine much later, so this much
# time has to lie between a version that goes and one that stays.
_MARGIN_SECONDS = 1.0


def last_written(table: Any) -> float:
    """Return when the newest version of a Lance table was written, long enough ago.

    Waits until what is written next can be told from it by its time; give it to `forget_versions`.
    """
    newest = max(version["timestamp"].timestamp() for version in table.list_versions())
    time.sleep(max(0.0, newest + _MARGIN_SECONDS - time.time()))
    return newest


def forget_versions(table: Any, *, written_until: float) -> None:
    """Remove the versions of a Lance table up to a time, and every file that no other one needs.

    No later version may be without a tag but the newest, and nobody else may write meanwhile.

    Raises:
        OSError: a version is still there, because the clock was set back meanwhile.
    """
    cutoff = written_until + _MARGIN_SECONDS / 10
    table.optimize(
        cleanup_older_than=timedelta(seconds=time.time() - cutoff), delete_unverified=True
    )
    if min(v["timestamp"].timestamp() for v in table.list_versions()) <= cutoff:
        raise OSError(f"{table.name}: Lance kept versions that had to go; do it again")
