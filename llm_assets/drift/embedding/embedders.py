"""Which model turns prompts into vectors, by the name that an application gives it."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.drift.config import DEFAULT_EMBEDDING_MODEL
from llm_assets.drift.embedding.embeddings import Embedder
from llm_assets.drift.embedding.minilm import MiniLM
from llm_assets.errors import UserError
from llm_assets.storage import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCH_SIZE = 32


@functools.cache
def embedder_named(name: str, *, folder: Path) -> Embedder:
    """Return the embedder that an application's `embedding_model` names.

    Nothing is loaded or looked for before it is asked for its own name or for vectors. A model
    other than the default is a folder, relative to `folder`, or one that Hugging Face's cache
    holds already: none is downloaded. A process has one of each, so weights are hashed once.
    """
    if name == DEFAULT_EMBEDDING_MODEL:
        return MiniLM()
    return SentenceTransformerEmbedder(model=name, folder=folder)


@dataclass(frozen=True, kw_only=True)
class SentenceTransformerEmbedder:
    """Any model of sentence-transformers whose weights are safetensors and whose code is theirs.

    It runs on the graphics card where there is one.
    """

    model: str
    folder: Path

    @property
    def name(self) -> str:
        """The model and the hash of its weights: others under the same name are another space.

        Raises:
            UserError: there is no such model, or its weights are not safetensors.
        """
        return f"{self.model}@{self._weights_sha256[:12]}"

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return one row of unit length for each prompt; the first call loads the model.

        Raises:
            UserError: as `name`, or the model wants code of its own or cannot be loaded.
        """
        assert self._weights_sha256
        # sentence-transformers sorts by length itself, so a batch holds little padding.
        return _loaded(self.model, self._source).encode(
            list(prompts),
            batch_size=_BATCH_SIZE,
            normalize_embeddings=True,
            show_progress_bar=False,
        )

    @functools.cached_property
    def _weights_sha256(self) -> str:
        files = sorted(self._source.rglob("*.safetensors"))
        if not files:
            raise UserError(
                f"embedding_model {self.model!r}: {self._source} holds no weights in safetensors"
            )
        return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()

    @functools.cached_property
    def _source(self) -> Path:
        # An absolute path stays what it is.
        path = self.folder / self.model
        if path.is_dir():
            return path
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        repository = self.model if "/" in self.model else f"sentence-transformers/{self.model}"
        try:
            return Path(snapshot_download(repository, local_files_only=True))
        except (HFValidationError, LocalEntryNotFoundError):
            raise UserError(
                f"embedding_model {self.model!r}: no such folder: {path}, and Hugging Face's cache "
                f"does not hold {repository!r} (`hf download` gets it)"
            ) from None


@functools.cache
def _loaded(model: str, source: Path) -> "SentenceTransformer":
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            str(source),
            device="cuda" if torch.cuda.is_available() else "cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"embedding_model {model!r}: cannot be loaded: {reason}") from None
