"""Files that appear whole or not at all, and tables kept as generations behind a manifest.

A partition of a table is a folder with one `_manifest.json` and the Parquet file that it names.
Readers resolve the manifest and never list the folder, so a reader sees either the old or the new
generation while a writer replaces it.
"""

import fcntl
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "_manifest.json"

T = TypeVar("T")


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that it is either absent, as it was, or complete, also after a crash.

    At no time can others read what `mode` keeps from them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json_atomically(path: Path, value: Any) -> None:
    """Write a value as readable JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")


def write_parquet_atomically(path: Path, frame: "pl.DataFrame") -> None:
    """Write a table as one Parquet file, atomically."""
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomically(path, content.getvalue())


@contextmanager
def locked(path: Path, *, alone: bool) -> Iterator[None]:
    """Hold a lock file: writers share it, who rewrites what they wrote holds it alone.

    The kernel frees the lock of a process that died.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One day of one application: the partition key of everything made of logs."""

    application: str
    date: date

    @property
    def path(self) -> Path:
        """The partition's folder, relative to its table."""
        return Path(f"application={self.application}", f"date={self.date.isoformat()}")

    @property
    def seed(self) -> int:
        """The seed of what is drawn for the day: the same whenever it is worked through."""
        return int.from_bytes(hashlib.sha256(str(self.path).encode()).digest()[:8])


def partitions_under(root: Path) -> list[Partition]:
    """Return every application and day that has a folder under a root, in that order."""
    return sorted(
        (
            Partition(
                application=folder.parent.name.removeprefix("application="),
                date=date.fromisoformat(folder.name.removeprefix("date=")),
            )
            for folder in root.glob("application=*/date=*")
        ),
        key=lambda partition: (partition.application, partition.date),
    )


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What a manifest says of the current content of a partition."""

    file: str
    num_rows: int
    sha256: str
    inputs: Sequence[str]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the current generation, or None where nothing was published yet."""
        try:
            return cls(**json.loads((folder / MANIFEST).read_text()))
        except FileNotFoundError:
            return None


@dataclass(frozen=True)
class Table:
    """A table partitioned by application and day.

    A generation is named by the hash of its content, so writing the same rows again changes
    nothing. The generation before the current one is kept for readers that hold its manifest.
    """

    root: Path

    def write(
        self, partition: Partition, frame: "pl.DataFrame", *, inputs: Sequence[str] = ()
    ) -> Generation:
        """Replace the content of a partition; `inputs` names what it was made of."""
        with locked(self._lock, alone=False):
            before = Generation.read(self.root / partition.path)
            generation = self._publish(partition, frame, inputs)
            self._forget(partition, kept={generation.file, (before or generation).file})
        return generation

    def rewrite(
        self,
        change: "Callable[[pl.DataFrame], pl.DataFrame]",
        *,
        application: str | None = None,
    ) -> dict[Partition, int]:
        """Let `change` take rows of one or all applications away; return who lost how many.

        No earlier generation is kept, and nothing that an interrupted writer left. Writers wait.
        """
        import polars as pl

        lost: dict[Partition, int] = {}
        if not self.root.exists():
            return lost
        with locked(self._lock, alone=True):
            for partition in self.partitions():
                if application not in (None, partition.application):
                    continue
                folder = self.root / partition.path
                generation = Generation.read(folder)
                if generation is not None:
                    frame = pl.read_parquet(folder / generation.file)
                    kept = change(frame)
                    if kept.height < frame.height:
                        lost[partition] = frame.height - kept.height
                        generation = self._publish(partition, kept, generation.inputs)
                self._forget(partition, kept={generation.file} if generation else set())
                for unfinished in folder.glob("*.tmp"):
                    unfinished.unlink()
        return lost

    def read(self, partition: Partition) -> "pl.DataFrame | None":
        """Return the rows of a partition, or None where nothing was published yet."""
        import polars as pl

        return self._read_current([partition], lambda files: pl.read_parquet(files[0]))

    def read_many(
        self,
        partitions: Sequence[Partition],
        *,
        schema: "pl.Schema",
        columns: Sequence[str] | None = None,
        path_column: str | None = None,
    ) -> "pl.DataFrame":
        """Return the rows of partitions, one after the other.

        A column that an older version did not write yet is null. The paths of the files that the
        rows come from are in `path_column`, if it is given.
        """
        import polars as pl

        names = [*(columns or schema.names()), *([path_column] if path_column else [])]

        def read(files: list[Path]) -> pl.DataFrame:
            scan = pl.scan_parquet(
                files,
                schema=schema,
                missing_columns="insert",
                extra_columns="ignore",
                hive_partitioning=False,
                include_file_paths=path_column,
            )
            return scan.select(names).collect()

        rows = self._read_current(partitions, read)
        if rows is not None:
            return rows
        path = {path_column: pl.String} if path_column else {}
        return pl.DataFrame(schema={**schema, **path}).select(names)

    def _read_current(
        self, partitions: Sequence[Partition], read: Callable[[list[Path]], T]
    ) -> T | None:
        """Let `read` read the current files; None where nothing was published yet."""
        files = self._current_files(partitions)
        while files:
            try:
                return read(files)
            except FileNotFoundError:
                # A rewriting took a generation away after its manifest was read.
                before, files = files, self._current_files(partitions)
                if files == before:
                    raise
        return None

    def _current_files(self, partitions: Sequence[Partition]) -> list[Path]:
        found = ((partition, self.generation(partition)) for partition in partitions)
        return [
            self.root / partition.path / generation.file
            for partition, generation in found
            if generation is not None
        ]

    def generation(self, partition: Partition) -> Generation | None:
        """Return what the manifest of a partition says, or None where there is none."""
        return Generation.read(self.root / partition.path)

    def partitions(self) -> list[Partition]:
        """Return every application and day that has a folder, published or not, in that order."""
        return partitions_under(self.root)

    def files(self, partition: Partition) -> list[Path]:
        """Return the files of every generation that is still on disk, also those not current."""
        return sorted((self.root / partition.path).glob("*.parquet"))

    def dates(self, application: str) -> list[date]:
        """Return the published days of an application, oldest first."""
        folders = self.root.glob(f"application={application}/date=*/{MANIFEST}")
        return sorted(date.fromisoformat(f.parent.name.removeprefix("date=")) for f in folders)

    @property
    def _lock(self) -> Path:
        return self.root / ".lock"

    def _publish(
        self, partition: Partition, frame: "pl.DataFrame", inputs: Sequence[str]
    ) -> Generation:
        folder = self.root / partition.path
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        os.close(descriptor)
        try:
            frame.write_parquet(temporary)
            with Path(temporary).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            name = f"{sha256[:16]}.parquet"
            Path(temporary).replace(folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        generation = Generation(
            file=name, num_rows=frame.height, sha256=sha256, inputs=list(inputs)
        )
        write_json_atomically(folder / MANIFEST, vars(generation))
        return generation

    def _forget(self, partition: Partition, *, kept: set[str]) -> None:
        for stale in self.files(partition):
            if stale.name not in kept:
                stale.unlink(missing_ok=True)
