"""Prompts as unit vectors, each distinct prompt computed once.

The cache is addressed by content: the key of a vector is made of the embedder's name and the
prompt, so another embedder never meets the vectors of this one.
"""

import functools
import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import polars as pl

from llm_assets.errors import UserError
from llm_assets.storage import locked
from llm_assets.versioned_table import forget_versions, last_written

_PREFIX = "prompt_embeddings"
# What an interrupted embedding loses at most; smaller parts would make many small files.
_NUM_AT_ONCE = 4096
# Reading opens every file of a table, and each writing makes one: 2,000 files of 100 vectors are
# read 5 times slower than one file is. An index on the keys would not pay: 1,000,000 are scanned in
# 0.35 s, and looking 5,000 up in an index takes 0.2 s, 100,000 of them 1.8 s.
_MAX_FILES = 64


class Embedder(Protocol):
    """Turns prompts into vectors of unit length; its name identifies the vector space."""

    @property
    def name(self) -> str:
        """The name that is kept beside every vector."""
        ...

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return one row of float32 of unit length for each prompt."""
        ...


@dataclass(frozen=True)
class EmbeddingCache:
    """The vectors that are known already, in a Lance table an embedder under `root`.

    A key tells its table (see `key_of`). Two processes may add the same prompt at once; both rows
    hold the same vector, and reading takes either.
    """

    root: Path

    def read(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors of those keys that are known."""
        known: dict[str, np.ndarray] = {}
        for space, hashes in _by_space(keys).items():
            if not self._exists(space):
                continue
            with locked(self._lock(space), alone=False):
                table = self._open(space)
                found = _rows(table, hashes).unique("hash", keep="first").sort("_rowid")
                if found.is_empty():
                    continue
                rows = _polars(table.take_row_ids(found["_rowid"].to_list()).to_arrow())
            names = (_key(space, known_hash) for known_hash in rows["hash"].to_list())
            known.update(zip(names, rows["vector"].to_numpy(), strict=True))
        return known

    def add(self, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Append vectors of one embedder whose keys are not known yet."""
        import lancedb

        if not keys:
            return
        ((space, hashes),) = _by_space(keys).items()
        self.root.mkdir(parents=True, exist_ok=True)
        rows = pl.DataFrame(
            {
                "hash": pl.Series(hashes, dtype=pl.String),
                "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
            }
        ).to_arrow()
        with locked(self._lock(space), alone=False):
            table = lancedb.connect(self.root).create_table(
                _table(space), schema=rows.schema, exist_ok=True
            )
            table.add(rows)
        if self._num_files(space) > _MAX_FILES:
            self._compact(space)

    def keys_of(self, prompts: Iterable[str]) -> set[str]:
        """Return every key that a prompt may have here, whichever embedder it was given to."""
        hashes = {_hash(prompt) for prompt in prompts}
        return {_key(space, prompt_hash) for space in self._spaces() for prompt_hash in hashes}

    def count(self, keys: Collection[str]) -> int:
        """Return how many rows have one of the keys."""
        num_rows = 0
        for space, hashes in _by_space(keys).items():
            if self._exists(space):
                with locked(self._lock(space), alone=False):
                    num_rows += _rows(self._open(space), hashes).height
        return num_rows

    def remove(self, keys: Collection[str]) -> int:
        """Take vectors away, from the disk too, and return how many rows they were.

        A vector tells much of its prompt. Readers and writers wait.
        """
        # What was kept before each embedder had a table is read no more, and its keys tell nothing.
        shutil.rmtree(self.root / f"{_PREFIX}.lance", ignore_errors=True)
        return sum(
            self._remove(space, hashes)
            for space, hashes in _by_space(keys).items()
            if self._exists(space)
        )

    def _remove(self, space: str, hashes: Sequence[str]) -> int:
        import lancedb

        with locked(self._lock(space), alone=True):
            table = self._open(space)
            before = last_written(table)
            rows = _polars(table.to_arrow())
            kept = rows.filter(~pl.col("hash").is_in(set(hashes)))
            # Deleting only marks rows, and compaction leaves them where few are marked.
            lancedb.connect(self.root).create_table(
                _table(space), kept.to_arrow(), mode="overwrite"
            )
            forget_versions(self._open(space), written_until=before)
        return rows.height - kept.height

    def _compact(self, space: str) -> None:
        """Make one file of many. Readers and writers wait."""
        with locked(self._lock(space), alone=True):
            if self._num_files(space) > _MAX_FILES:
                # Nobody reads an earlier version now, and compaction itself makes two.
                self._open(space).optimize(
                    cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True
                )

    def _spaces(self) -> list[str]:
        folders = self.root.glob(f"{_table('*')}.lance")
        return sorted(folder.stem.removeprefix(_table("")) for folder in folders)

    def _folder(self, space: str) -> Path:
        return self.root / f"{_table(space)}.lance"

    def _exists(self, space: str) -> bool:
        # Another process may be just about to make the table.
        return any((self._folder(space) / "_versions").glob("*.manifest"))

    def _lock(self, space: str) -> Path:
        return self.root / f".{_table(space)}.lock"

    def _num_files(self, space: str) -> int:
        return sum(1 for _ in (self._folder(space) / "data").iterdir())

    def _open(self, space: str) -> Any:
        import lancedb

        return lancedb.connect(self.root).open_table(_table(space))


def embed(
    prompts: Sequence[str],
    *,
    cache: EmbeddingCache,
    embedder: Embedder,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> np.ndarray:
    """Return one float32 row of unit length for each prompt, in their order.

    Only prompts that the cache lacks are computed, and it keeps them a part at a time, so that an
    interrupted call loses little. `on_progress` is told how many of the distinct prompts are known,
    first of all and after each part. Of no prompts the
    result has no columns either.

    Raises:
        UserError: a prompt is no string or is blank; such prompts have no place on the map, so
            leave them out before (`window` does). The message names the position.
    """
    for position, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(
                f"prompt {position}: must be a string that is not blank, got {prompt!r}"
            )
    if not prompts:
        return np.empty((0, 0), np.float32)
    keys = [key_of(embedder.name, prompt) for prompt in prompts]
    distinct = dict(zip(keys, prompts, strict=True))
    known = cache.read(list(distinct))
    missing = [key for key in distinct if key not in known]
    on_progress(len(known), len(distinct))
    for start in range(0, len(missing), _NUM_AT_ONCE):
        part = missing[start : start + _NUM_AT_ONCE]
        vectors = embedder.encode([_encodable(distinct[key]) for key in part]).astype(np.float32)
        cache.add(part, vectors)
        known.update(zip(part, vectors, strict=True))
        on_progress(len(known), len(distinct))
    return np.stack([known[key] for key in keys])


def key_of(embedder: str, prompt: str) -> str:
    """Return the key under which the cache holds a prompt's vector: its table and its hash."""
    return _key(_space_of(embedder), _hash(prompt))


@functools.lru_cache
def _space_of(embedder: str) -> str:
    """Return what stands for an embedder in file names, where not every name fits."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", embedder).strip("-")[-40:]
    return f"{readable}-{hashlib.sha256(embedder.encode()).hexdigest()[:8]}"


def _table(space: str) -> str:
    return f"{_PREFIX}_{space}"


def _key(space: str, prompt_hash: str) -> str:
    return f"{space}:{prompt_hash}"


def _hash(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def _by_space(keys: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        space, _, prompt_hash = key.rpartition(":")
        found.setdefault(space, []).append(prompt_hash)
    return found


def _encodable(prompt: str) -> str:
    """Return the prompt without halves of characters, which no tokenizer takes."""
    return prompt.encode("utf-8", "replace").decode()


def _rows(table: Any, hashes: Collection[str]) -> pl.DataFrame:
    """Return where the rows of those hashes that are known stand."""
    num_rows = table.count_rows()
    if not num_rows:
        return pl.DataFrame(schema={"hash": pl.String, "_rowid": pl.UInt64})
    index = _polars(table.search().select(["hash"]).with_row_id(True).limit(num_rows).to_arrow())
    wanted = pl.DataFrame({"hash": list(hashes)}, schema={"hash": pl.String})
    return index.join(wanted, on="hash", how="semi")


def _polars(table: Any) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(table))
