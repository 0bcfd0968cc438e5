"""Files that appear whole or not at all, and tables kept as generations behind a manifest.

A partition of a table is a folder with one `_manifest.json` and the Parquet file that it names.
Readers resolve the manifest and never list the folder, so a reader sees either the old or the new
generation while a writer replaces it.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "_manifest.json"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either absent, as it was, or complete, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json_atomically(path: Path, value: Any) -> None:
    """Write a value as readable JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")


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
        folder = self.root / partition.path
        folder.mkdir(parents=True, exist_ok=True)
        before = Generation.read(folder)
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
        kept = {name, before.file if before else name}
        for stale in folder.glob("*.parquet"):
            if stale.name not in kept:
                stale.unlink(missing_ok=True)
        return generation

    def read(self, partition: Partition) -> "pl.DataFrame | None":
        """Return the rows of a partition, or None where nothing was published yet."""
        import polars as pl

        folder = self.root / partition.path
        generation = Generation.read(folder)
        return None if generation is None else pl.read_parquet(folder / generation.file)

    def generation(self, partition: Partition) -> Generation | None:
        """Return what the manifest of a partition says, or None where there is none."""
        return Generation.read(self.root / partition.path)

    def dates(self, application: str) -> list[date]:
        """Return the published days of an application, oldest first."""
        folders = self.root.glob(f"application={application}/date=*/{MANIFEST}")
        return sorted(date.fromisoformat(f.parent.name.removeprefix("date=")) for f in folders)
