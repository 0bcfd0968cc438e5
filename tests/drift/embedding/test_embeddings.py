import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.embedding import embeddings
from llm_assets.drift.embedding.embeddings import EmbeddingCache, embed, key_of
from llm_assets.errors import UserError
from tests.drift.vectors import HashEmbedder


def keys(prompts: Sequence[str], *, embedder: str = "hash") -> list[str]:
    return [key_of(embedder, prompt) for prompt in prompts]


def num_files(root: Path) -> int:
    return len(list(root.glob("*.lance/data/*")))


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


def test_vectors_of_another_width_lie_beside_these(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.add(keys(["a"], embedder="wide"), np.ones((1, 7), np.float32))
    cache.add(keys(["a"], embedder="narrow"), np.ones((1, 3), np.float32))
    both = cache.read([*keys(["a"], embedder="wide"), *keys(["a"], embedder="narrow")])
    assert [vector.shape for vector in both.values()] == [(7,), (3,)]


@pytest.mark.parametrize("names", [("m/a", "m-a"), ("x" * 300, "x" * 299), ("ü", "é"), ("A", "a")])
def test_embedders_whose_names_no_file_can_have_are_told_apart(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    cache, vectors = EmbeddingCache(tmp_path), np.eye(2, dtype=np.float32)
    for name, vector in zip(names, vectors, strict=True):
        cache.add(keys(["a"], embedder=name), vector[None])
    for name, vector in zip(names, vectors, strict=True):
        (found,) = cache.read(keys(["a"], embedder=name)).values()
        assert (found == vector).all()


def test_a_key_that_two_processes_added_is_read_once(tmp_path: Path) -> None:
    cache, vector = EmbeddingCache(tmp_path), np.ones((1, 4), np.float32)
    cache.add(keys(["a"]), vector)
    cache.add(keys(["a"]), vector)
    assert list(cache.read(keys(["a", "unknown"]))) == keys(["a"])


@pytest.mark.parametrize("prompt", [None, 3, "", " \n"])
def test_what_is_no_prompt_is_refused_with_its_position(tmp_path: Path, prompt: Any) -> None:
    with pytest.raises(UserError, match="prompt 1: must be a string that is not blank"):
        embed(["a", prompt], cache=EmbeddingCache(tmp_path), embedder=HashEmbedder())


def test_quotes_and_broken_surrogates_do_no_harm(tmp_path: Path) -> None:
    cache, embedder = EmbeddingCache(tmp_path), HashEmbedder()
    prompts = ["it's 'quoted'", 'a "b"', "\ud800", "x" * 100_000]
    first = embed(prompts, cache=cache, embedder=embedder)
    assert (embed(prompts, cache=cache, embedder=embedder) == first).all()
    assert embedder.asked == [*prompts[:2], "?", prompts[3]]


def test_no_prompts_give_no_vectors(tmp_path: Path) -> None:
    vectors = embed([], cache=EmbeddingCache(tmp_path), embedder=HashEmbedder())
    assert vectors.size == 0


def test_progress_counts_distinct_prompts_from_those_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_NUM_AT_ONCE", 2)
    cache, told = EmbeddingCache(tmp_path), list[tuple[int, int]]()
    embed(["a"], cache=cache, embedder=HashEmbedder())
    embed(
        list("abcada"),
        cache=cache,
        embedder=HashEmbedder(),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 4), (3, 4), (4, 4)]


class _Dying(HashEmbedder):
    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        if self.asked:
            raise KeyboardInterrupt
        return super().encode(prompts)


def test_what_an_interrupted_embedding_had_computed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_NUM_AT_ONCE", 2)
    cache, again = EmbeddingCache(tmp_path), HashEmbedder()
    with pytest.raises(KeyboardInterrupt):
        embed(list("abc"), cache=cache, embedder=_Dying())
    embed(list("abc"), cache=cache, embedder=again)
    assert again.asked == ["c"]


def test_many_small_additions_become_one_file_and_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_MAX_FILES", 3)
    cache, prompts, vectors = EmbeddingCache(tmp_path), list("abcde"), np.eye(5, dtype=np.float32)
    files = []
    for prompt, vector in zip(prompts, vectors, strict=True):
        cache.add(keys([prompt]), vector[None])
        files.append(num_files(tmp_path))
    assert files[:3] == [1, 2, 3]
    # Lance may keep what it made of them a millisecond ago until the next time.
    assert files[4] < 5
    known = cache.read(keys(prompts))
    assert (np.stack([known[key] for key in keys(prompts)]) == vectors).all()
    assert len(list(tmp_path.glob("*.lance/_versions/*.manifest"))) <= 2


def test_removed_vectors_are_gone_from_the_disk_and_may_come_again(tmp_path: Path) -> None:
    cache, vectors = EmbeddingCache(tmp_path), np.eye(3, 4, dtype=np.float32)
    assert cache.remove(keys("a")) == 0
    cache.add(keys("ab"), vectors[:2])
    cache.add(keys("c"), vectors[2:])
    assert cache.count(keys("acx")) == 2
    assert cache.remove(keys("acx")) == 2
    assert list(cache.read(keys("abc"))) == keys("b")
    assert num_files(tmp_path) == 1
    assert cache.remove(keys("b")) == 1
    assert cache.read(keys("b")) == {}
    cache.add(keys("b"), vectors[:1])
    assert list(cache.read(keys("b"))) == keys("b")


def test_a_prompt_is_removed_from_every_embedder_that_was_ever_used(tmp_path: Path) -> None:
    cache, prompts = EmbeddingCache(tmp_path), ["mine", "another's"]
    for name in ("one", "other/model@1"):
        embed(prompts, cache=cache, embedder=HashEmbedder(name))
    assert cache.keys_of(["mine"]) == {key_of(n, "mine") for n in ("one", "other/model@1")}
    assert cache.remove(cache.keys_of(["mine"])) == 2
    for name in ("one", "other/model@1"):
        assert list(cache.read(keys(prompts, embedder=name))) == keys(prompts[1:], embedder=name)


def test_removing_takes_away_the_table_that_all_embedders_once_shared(tmp_path: Path) -> None:
    (tmp_path / "prompt_embeddings.lance" / "data").mkdir(parents=True)
    assert EmbeddingCache(tmp_path).keys_of(["a"]) == set()
    assert EmbeddingCache(tmp_path).remove(set()) == 0
    assert list(tmp_path.iterdir()) == []


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["embed", "remove"]),
        st.sampled_from(["one", "other"]),
        st.lists(st.sampled_from("abcdef"), max_size=4),
    ),
    max_size=6,
)


@settings(max_examples=12)
@given(steps=_STEPS)
def test_the_cache_knows_what_was_embedded_and_not_removed_since(
    steps: list[tuple[str, str, list[str]]],
) -> None:
    expected: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # The clock's margin between versions is tested above; here it would only be waited for.
        patch.setattr(embeddings, "last_written", lambda table: 0.0)
        patch.setattr(embeddings, "forget_versions", lambda table, written_until: None)
        cache = EmbeddingCache(Path(folder))
        for action, name, prompts in steps:
            asked = set(keys(prompts, embedder=name))
            if action == "embed":
                vectors = embed(prompts, cache=cache, embedder=HashEmbedder(name))
                fresh = HashEmbedder(name)
                assert not prompts or (vectors == fresh.encode(prompts)).all()
                expected |= asked
            else:
                assert cache.remove(asked) == len(asked & expected)
                expected -= asked
        every = [key_of(name, prompt) for name in ("one", "other") for prompt in "abcdef"]
        assert set(cache.read(every)) == expected
        assert cache.count(every) == len(expected)
