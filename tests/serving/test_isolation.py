"""Adapters with opposite answers, asked at once: no answer comes from another's adapter.

Engines have been seen to answer from the prompt cache of another adapter, or from the adapter of
another request in the same batch, without a word about it.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import gguf
import httpx
import numpy as np
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.serving.adapter import convert_adapter
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.temporary import serve
from tests.serving.adapters import write_adapter
from tests.tiny_model import FEED_FORWARD, HIDDEN, NUM_LAYERS

# Two words of the vocabulary, and how often each question is asked of each version.
TOKENS = {"helpdesk-v0002": 5000, "helpdesk-v0003": 6000}
NUM_QUESTIONS = 26
NUM_ROUNDS = 2
RANK = 4


def biased_adapter(folder: Path, base: BaseModelFile, token: int) -> Path:
    """Write an adapter that says one word, whatever is asked.

    A linear change follows the sign of its input. So four neurons of the last layer get gates that
    equal their inputs, twice with either sign: their products are never negative, their sum nearly
    never nothing, and it goes out in the direction of the word.
    """
    [embeddings] = [t for t in gguf.GGUFReader(base.path).tensors if t.name == "token_embd.weight"]
    word = embeddings.data[token].astype(np.float32)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((RANK // 2, HIDDEN)).astype(np.float32)
    neurons = np.eye(RANK, FEED_FORWARD, dtype=np.float32)
    layer = f"base_model.model.model.layers.{NUM_LAYERS - 1}.mlp"
    weights = {
        f"{layer}.{name}.lora_{side}.weight": matrix
        for name in ("gate_proj", "up_proj")
        for side, matrix in (("A", np.vstack([directions, -directions])), ("B", neurons.T.copy()))
    }
    weights |= {
        f"{layer}.down_proj.lora_A.weight": neurons,
        f"{layer}.down_proj.lora_B.weight": np.outer(word / np.linalg.norm(word), [10.0] * RANK)
        .astype(np.float32)
        .copy(),
    }
    folder.mkdir()
    write_adapter(folder, layers=[], modules=[], weights=weights)
    return convert_adapter(base.path, folder, folder / "adapter.gguf")


@pytest.fixture
def specs(
    spec: ModelServerSpec, bare_base_model: BaseModelFile, tmp_path: Path
) -> dict[str, ModelServerSpec]:
    return {
        version: replace(
            spec,
            model_version=version,
            adapter=biased_adapter(tmp_path / version, bare_base_model, token),
            serving=ServingConfig(max_tokens=4, threads=1, parallel_requests=4),
        )
        for version, token in TOKENS.items()
    }


def test_every_answer_comes_from_its_own_adapter(specs: dict[str, ModelServerSpec]) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(16) as pool, httpx.Client(timeout=60) as client:
        urls = {version: stack.enter_context(serve(spec)) for version, spec in specs.items()}
        words = {version: ask(client, url, "Which is your word?") for version, url in urls.items()}
        assert len(set(words.values())) == len(words)
        asks = [
            (version, f"Name {number} things that begin alike, then topic {number * 7}.")
            for _ in range(NUM_ROUNDS)
            for number in range(NUM_QUESTIONS)
            for version in urls
        ]
        answers = list(pool.map(lambda asked: ask(client, urls[asked[0]], asked[1]), asks))
    wrong = [(q, a) for q, a in zip(asks, answers, strict=True) if a != words[q[0]]]
    assert len(answers) > 100
    assert wrong == []


def ask(client: httpx.Client, url: str, question: str) -> str:
    body = {"model": "helpdesk", "messages": [{"role": "user", "content": question}]}
    response = client.post(f"{url}/v1/chat/completions", json=body)
    return response.raise_for_status().json()["choices"][0]["message"]["content"]
