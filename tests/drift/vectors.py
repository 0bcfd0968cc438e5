"""Made-up vectors of unit length, and an embedder that needs no model."""

import hashlib
from collections.abc import Sequence

import numpy as np

from llm_assets.drift.baseline import Baseline


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def topic(num: int, *, centre: int, rng: np.random.Generator, dimensions: int = 16) -> np.ndarray:
    """Return prompts that scatter around one axis."""
    vectors = rng.normal(scale=0.3, size=(num, dimensions))
    vectors[:, centre] += 1
    return unit(vectors)


def a_baseline(vectors: np.ndarray) -> Baseline:
    return Baseline(
        model_version="helpdesk-v0001",
        embedder="hash",
        prompts=[f"prompt {row}" for row in range(len(vectors))],
        vectors=vectors,
    )


class HashEmbedder:
    """A vector that depends on the prompt alone; it remembers what it was asked."""

    def __init__(self, name: str = "hash") -> None:
        self.name = name
        self.asked: list[str] = []

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        self.asked += prompts
        return unit(np.stack([self._vector(prompt) for prompt in prompts]))

    def _vector(self, prompt: str) -> np.ndarray:
        digest = hashlib.sha256(f"{self.name} {prompt}".encode("utf-8", "surrogatepass")).digest()
        return np.frombuffer(digest, np.uint8).astype(np.float32) - 127.5
