from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from llm_assets.drift.embeddings import EmbeddingCache, embed, embeddable
from llm_assets.errors import UserError
from tests.drift.vectors import HashEmbedder


def test_each_distinct_prompt_is_computed_once(tmp_path: Path) -> None:
    cache, embedder = EmbeddingCache(tmp_path), HashEmbedder()
    first = embed(["a", "b", "a"], cache=cache, embedder=embedder)
    second = embed(["c", "b", "a"], cache=cache, embedder=embedder)
    assert embedder.asked == ["a", "b", "c"]
    assert (first[0] == first[2]).all()
    assert (second[1:] == first[[1, 0]]).all()
    assert second.dtype == np.float32


def test_another_embedder_never_meets_these_vectors(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    one = embed(["a"], cache=cache, embedder=HashEmbedder("one"))
    other = embed(["a"], cache=cache, embedder=HashEmbedder("other"))
    assert (one != other).any()


def test_a_key_that_two_processes_added_is_read_once(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    vector = np.ones((1, 4), np.float32)
    cache.add(["key"], vector)
    cache.add(["key"], vector)
    assert list(cache.read(["key", "unknown"])) == ["key"]


@pytest.mark.parametrize("prompt", [None, 3, "", " \n"])
def test_what_is_no_prompt_is_refused_with_its_position(tmp_path: Path, prompt: Any) -> None:
    with pytest.raises(UserError, match="prompt 1: must be a string that is not blank"):
        embed(["a", prompt], cache=EmbeddingCache(tmp_path), embedder=HashEmbedder())


def test_quotes_and_broken_surrogates_do_no_harm(tmp_path: Path) -> None:
    cache, embedder = EmbeddingCache(tmp_path), HashEmbedder()
    prompts = ["it's 'quoted'", 'a "b"', "\ud800", "x" * 100_000]
    first = embed(prompts, cache=cache, embedder=embedder)
    assert (embed(prompts, cache=cache, embedder=embedder) == first).all()
    assert len(embedder.asked) == 4


def test_no_prompts_give_no_vectors(tmp_path: Path) -> None:
    vectors = embed([], cache=EmbeddingCache(tmp_path), embedder=HashEmbedder())
    assert vectors.shape == (0, 384)


def test_blank_prompts_are_not_embeddable() -> None:
    interactions = pl.DataFrame({"prompt": ["a", " ", "", None, "b"]})
    assert embeddable(interactions) == ["a", "b"]


def test_removed_vectors_are_gone_from_the_disk_and_may_come_again(tmp_path: Path) -> None:
    cache, vectors = EmbeddingCache(tmp_path), np.eye(3, 4, dtype=np.float32)
    assert cache.remove(["a"]) == 0
    cache.add(["a", "b"], vectors[:2])
    cache.add(["c"], vectors[2:])
    assert cache.count(["a", "c", "unknown"]) == 2
    assert cache.remove(["a", "c", "unknown"]) == 2
    assert list(cache.read(["a", "b", "c"])) == ["b"]
    assert len(list(tmp_path.glob("prompt_embeddings.lance/data/*"))) == 1
    assert cache.remove(["b"]) == 1
    assert cache.read(["b"]) == {}
    cache.add(["b"], vectors[:1])
    assert list(cache.read(["b"])) == ["b"]
