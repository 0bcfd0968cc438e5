"""Lance tables of which each version is kept under a name, e.g. that of a model version."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llm_assets.errors import UserError

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

    def read(self, tag: str) -> "pl.DataFrame":
        """Return the rows at a tag.

        Raises:
            UserError: nothing was written under the tag.
        """
        import polars as pl

        table = self._open()
        if table is None or tag not in table.tags.list():
            raise UserError(f"{self.root / self.name}: nothing was written for {tag!r}")
        table.checkout(tag)
        return cast(pl.DataFrame, pl.from_arrow(table.to_arrow()))

    def tags(self) -> list[str]:
        """Return the tags in alphabetical order; none where nothing was written yet."""
        table = self._open()
        return [] if table is None else sorted(table.tags.list())

    def _open(self) -> Any:
        if not (self.root / f"{self.name}.lance").exists():
            return None
        import lancedb

        return lancedb.connect(self.root).open_table(self.name)
