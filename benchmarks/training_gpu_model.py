"""Models of published sizes with random weights, and what a token costs in them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llm_assets.training.config import TrainingConfig
from llm_assets.training.tokens import Example, TokenRow

# Bytes and the marks of Llama's chat template; random ids come from the whole vocabulary.
_MARKS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>"
    "\n\n{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


class Flops(NamedTuple):
    """Floating point operations of a training step, per token."""

    lora: float
    six_n: float


class Architecture(NamedTuple):
    """A model of the llama architecture, in the words of its `config.json`."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool
    rope_factor: float

    @property
    def num_matmul_weights(self) -> int:
        """How many weights a token is multiplied with; an embedding is only looked up."""
        ends = self._linear_ends()
        return self.num_hidden_layers * sum(a * b for a, b in ends) + (
            self.vocab_size * self.hidden_size
        )

    def num_lora_weights(self, r: int) -> int:
        """Return how many weights adapters of all linear modules of the layers have."""
        return self.num_hidden_layers * sum(r * (a + b) for a, b in self._linear_ends())

    def flops_per_token(self, *, length: int, r: int) -> Flops:
        """Return what a token of a sequence without padding costs, forward and backward.

        With N weights, `lora` is what has to be computed: 2 N forward, 2 N for the gradient of the
        activations, none for that of the frozen weights, 6 for each weight of the adapter, and
        attention, which looks at half the tokens: 2 L d s forward and twice that backward. `six_n`
        is the convention 6 N + 12 L d s of Chowdhery et al. 2022, PaLM, appendix B, as if all
        weights were trained and every token saw every other; it is there to compare with others.
        What gradient checkpointing computes again counts in neither.
        """
        attention = self.num_hidden_layers * self.num_attention_heads * self.head_dim * length
        weights = self.num_matmul_weights
        return Flops(
            lora=4 * weights + 6 * self.num_lora_weights(r) + 6 * attention,
            six_n=6 * weights + 12 * attention,
        )

    def _linear_ends(self) -> list[tuple[int, int]]:
        queries = self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        return [
            (self.hidden_size, queries),
            *[(self.hidden_size, keys)] * 2,
            (queries, self.hidden_size),
            *[(self.hidden_size, self.intermediate_size)] * 3,
        ]


# Sizes as in config.json of huggingface.co/meta-llama/Llama-3.2-1B and Llama-3.1-8B.
ARCHITECTURES = {
    "1b": Architecture(2048, 8192, 16, 32, 8, 64, 128256, True, 32.0),
    "8b": Architecture(4096, 14336, 32, 32, 8, 128, 128256, False, 8.0),
    "tiny": Architecture(64, 128, 4, 4, 2, 16, 512, True, 8.0),
}


def make_model(architecture: Architecture, folder: Path, device: Any) -> None:
    """Write a model with random weights in bfloat16, and a tokenizer of bytes beside it."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = LlamaConfig(
        **{name: value for name, value in architecture._asdict().items() if name != "rope_factor"},
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": architecture.rope_factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        bos_token_id=256,
        eos_token_id=259,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_MARKS[0],
        eos_token=_MARKS[3],
        chat_template=_CHAT_TEMPLATE,
    )


def lora_config(**settings: Any) -> TrainingConfig:
    """Return the configuration of all cases: rank 16 on all seven projections of all layers."""
    compute = {"bf16": True, "max_restarts": 0, **settings.pop("compute", {})}
    defaults = {"r": 16, "num_top_layers": None, "learning_rate": 1e-3, "warmup_ratio": 0.0}
    return TrainingConfig.of_plain({**defaults, **settings, "compute": compute})


def full_rows(number: int, *, length: int, vocab_size: int) -> list[Example]:
    """Return rows of random tokens that are all learnt, as in continued pretraining."""
    rng = np.random.default_rng(0)
    ids = rng.integers(vocab_size, size=(number, length)).tolist()
    return [Example((TokenRow(row, 1),)) for row in ids]


def chat_rows(number: int, *, vocab_size: int) -> list[Example]:
    """Return conversations: a system prompt of 50 tokens, 10 to 60 asked, 20 to 120 answered."""
    rng = np.random.default_rng(0)
    system = rng.integers(vocab_size, size=50).tolist()
    rows = []
    for _ in range(number):
        asked, answered = rng.integers(10, 61), rng.integers(20, 121)
        rest = rng.integers(vocab_size, size=asked + answered).tolist()
        rows.append(Example((TokenRow([*system, *rest], len(system) + int(asked)),)))
    return rows
