"""How many requests a second this machine could serve if memory or arithmetic were all it took."""

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from serving_servers import script
from serving_work import Workload

_KEY_VALUE_BYTES = 2  # the engine keeps keys and values in float16


class Machine(NamedTuple):
    """What the machine can do, measured: bytes and operations a second."""

    bytes_per_second: float
    flops_fp32: float
    ops_int8: float

    @classmethod
    def measure(cls, num_threads: int) -> "Machine":
        """Measure it, in a process of its own."""
        command = script("serving_with_memory.py", num_threads)
        return cls(**json.loads(subprocess.check_output(command)))


class Model(NamedTuple):
    """What a token costs.

    `num_bytes` is what every decoding step reads of weights, `key_value_bytes` what it reads for
    each token that a sequence has already; `num_weights` multiply every token, and of a prompt's
    tokens only the last is multiplied with the `num_output_weights` among them.
    """

    num_bytes: int
    key_value_bytes: int
    num_weights: int
    num_output_weights: int

    @classmethod
    def read(cls, path: Path) -> "Model":
        """Read it from a GGUF file of the Llama architecture."""
        import gguf

        reader = gguf.GGUFReader(path)

        def number(name: str) -> int:
            field = reader.get_field(f"llama.{name}")
            assert field is not None
            return int(field.contents())

        tensors = {tensor.name: tensor for tensor in reader.tensors}
        # Where input and output share a matrix, all of it is read for the output.
        output = tensors.get("output.weight", tensors["token_embd.weight"])
        used = [t for n, t in tensors.items() if n != "token_embd.weight" or t is output]
        head_dim = number("embedding_length") // number("attention.head_count")
        values = 2 * number("block_count") * number("attention.head_count_kv") * head_dim
        return cls(
            num_bytes=sum(int(tensor.n_bytes) for tensor in used),
            key_value_bytes=values * _KEY_VALUE_BYTES,
            num_weights=sum(int(tensor.n_elements) for tensor in used),
            num_output_weights=int(output.n_elements),
        )


def engine_build() -> str:
    """Return the instructions that the engine was built for, which may be fewer than there are."""
    engine: Any = importlib.import_module("xllamacpp")
    facts = engine.get_system_info().removeprefix("CPU :").split("|")
    return ", ".join(f.split("=")[0].strip() for f in facts if f.strip().endswith("= 1"))


class Roof(NamedTuple):
    """The roof of one load: tokens a second while decoding only, and of whole requests."""

    decoding: float
    is_decoding_memory_bound: bool
    requests_per_second: float


def roof(
    machine: Machine, model: Model, workload: Workload, *, num_clients: int, num_answered: float
) -> Roof:
    """Return the roof of a load whose answers have `num_answered` tokens.

    A step makes one token for each client; it takes as long as reading all weights once and each
    client's keys and values, or as two int8 operations a weight and client, whichever is longer.
    Prompts are multiplied only where the cache does not hold them; attention's own arithmetic, a
    hundredth at these lengths, is left out.
    """
    length = workload.num_prompt_tokens + num_answered / 2
    num_read = model.num_bytes + num_clients * length * model.key_value_bytes
    memory = num_read / machine.bytes_per_second
    compute = num_clients * 2 * model.num_weights / machine.ops_int8
    step = max(memory, compute)
    num_new = workload.num_prompt_tokens - workload.num_shared_tokens
    prompt = num_new * 2 * (model.num_weights - model.num_output_weights)
    # The last token of the prompt makes the first of the answer.
    seconds = num_clients * prompt / machine.ops_int8 + num_answered * step
    return Roof(num_clients / step, memory >= compute, num_clients / seconds)
