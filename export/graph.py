"""Graphs: the news encoder and the user encoder as ONNX, node by node from their parameters.

Traced exports differ between versions of torch and write the machine's paths into the graph; a
graph written by hand is the same bytes everywhere and holds one fused attention node per layer.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from export.errors import UnsupportedModel
from export.nodes import Nodes
from export.parameters import Layer, NewsParameters, Norm, Pooling
from export.precision import Precision

# torch.finfo(float32).min, which the torch pooling uses too.
LOWEST = float(np.finfo(np.float32).min)
# Below this length torch.nn.functional.normalize divides by it instead.
MIN_LENGTH = 1e-12
TANH_GELUS = frozenset({"gelu_new", "gelu_fast", "gelu_pytorch_tanh"})
# No activation gives less: its minimum, rounded down.
LOWEST_ACTIVE = {
    "relu": 0.0, "silu": -0.2785, "swish": -0.2785, "gelu": -0.16998,
    **dict.fromkeys(TANH_GELUS, -0.17005),
}  # fmt: skip
TEXT_SHAPE = ("batch", "length")


def news_encoder_graph(parameters: NewsParameters, precision: Precision) -> bytes:
    """Build ids, mask (B, T) int64 -> vector (B, D) of unit length, topic_logits (B, topics)."""
    body = _Transformer(parameters, precision)
    nodes = body.nodes
    is_token = nodes.add("Cast", "mask", to=TensorProto.BOOL)
    pooled = _pool(nodes, parameters.pooling, body.states(), is_token, precision=precision)
    vector = precision.per_text(nodes, pooled, parameters.dense)
    _unit_length(nodes, vector, out="vector")
    precision.per_text(nodes, pooled, parameters.topics, out="topic_logits")
    return nodes.to_bytes(
        "news_encoder",
        inputs={"ids": ("int64", TEXT_SHAPE), "mask": ("int64", TEXT_SHAPE)},
        outputs={
            "vector": ("float32", ("batch", len(parameters.dense.weight))),
            "topic_logits": ("float32", ("batch", len(parameters.topics.weight))),
        },
    )


def user_encoder_graph(pooling: Pooling, precision: Precision) -> bytes:
    """Build history (B, H, D), mask (B, H) bool -> user (B, D); no click at all gives zeros."""
    nodes = Nodes()
    dim = pooling.projection.weight.shape[1]
    _pool(nodes, pooling, "history", "mask", precision=precision, out="user")
    return nodes.to_bytes(
        "user_encoder",
        inputs={
            "history": ("float32", ("batch", "clicks", dim)),
            "mask": ("bool", ("batch", "clicks")),
        },
        outputs={"user": ("float32", ("batch", dim))},
    )


class _Transformer:
    """Embeddings and layers; the states keep the shape (B, T, hidden) throughout."""

    def __init__(self, parameters: NewsParameters, precision: Precision) -> None:
        self.nodes = Nodes()
        self._parameters, self._precision = parameters, precision
        self._length = self.nodes.add("Shape", "ids", start=1, end=2)
        self._key_mask = self.nodes.add("Cast", "mask", to=TensorProto.INT32)

    def states(self) -> str:
        """Add everything up to the last layer's output."""
        tokens = self._precision.lookup(self.nodes, self._parameters.tokens, "ids")
        embedded = self.nodes.add("Sub", tokens, self._negated_positions())
        states = self._normalise(embedded, self._parameters.embedding_norm)
        for layer in self._parameters.layers:
            states = self._feed_forward(self._attend(states, layer), layer)
        return states

    def _negated_positions(self) -> str:
        table = self._precision.constant(self.nodes, -self._parameters.positions)
        if not self._parameters.offset_positions:
            start, axis = self.nodes.integers(0), self.nodes.integers(0)
            return self.nodes.add("Slice", table, start, self._length, axis)  # (T, hidden)
        # RoBERTa counts the tokens that are not padding from 1; row 0 is that of padding.
        pad_id = self.nodes.constant(np.array(self._parameters.architecture.pad_id, dtype=np.int64))
        is_padding = self.nodes.add("Equal", "ids", pad_id)
        counts = self.nodes.add("Cast", self.nodes.add("Not", is_padding), to=TensorProto.INT64)
        axis = self.nodes.constant(np.array(1, dtype=np.int64))
        running = self.nodes.add("CumSum", counts, axis)
        return self.nodes.add("Gather", table, self.nodes.add("Mul", running, counts))

    def _attend(self, states: str, layer: Layer) -> str:
        parts = (layer.query, layer.key, layer.value)
        query, key, value = self._precision.per_token(self.nodes, states, *parts)
        heads = self._parameters.architecture.heads
        attended = self.nodes.add_fused(
            "MultiHeadAttention", query, key, value, "", self._key_mask, num_heads=heads
        )
        output = self._precision.per_token(self.nodes, attended, layer.attended.negated())[0]
        return self._normalise(self.nodes.add("Sub", states, output), layer.attended_norm)

    def _feed_forward(self, states: str, layer: Layer) -> str:
        x = self._precision.per_token(self.nodes, states, layer.intermediate)[0]
        name = self._parameters.architecture.activation
        active = _activate(self.nodes, x, name)
        output = self._precision.per_token(
            self.nodes, active, layer.output.negated(), lowest=LOWEST_ACTIVE[name]
        )[0]
        return self._normalise(self.nodes.add("Sub", states, output), layer.output_norm)

    def _normalise(self, x: str, norm: Norm) -> str:
        # x is always a difference: a sum whose shape ONNX Runtime knows, it fuses with this into
        # SkipLayerNormalization, which takes eight times as long as the two nodes.
        gain, bias = self.nodes.constant(norm.gain), self.nodes.constant(norm.bias)
        epsilon = self._parameters.architecture.layer_norm_eps
        return self.nodes.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=epsilon)


def _activate(nodes: Nodes, x: str, name: str) -> str:
    if name == "relu":
        return nodes.add("Relu", x)
    if name == "gelu" or name in TANH_GELUS:
        return nodes.add("Gelu", x, approximate="tanh" if name in TANH_GELUS else "none")
    if name in ("silu", "swish"):
        return nodes.add("Mul", x, nodes.add("Sigmoid", x))
    raise UnsupportedModel(f"activation {name!r} has no graph")


def _pool(
    nodes: Nodes, pooling: Pooling, x: str, mask: str, *, precision: Precision, out: str = ""
) -> str:
    """Add additive attention: x (B, T, D) under mask (B, T) bool -> (B, D); all masked gives 0."""
    active = nodes.add("Tanh", precision.per_token(nodes, x, pooling.projection)[0])
    # A matrix of one column: ONNX Runtime multiplies by a vector ten times as slowly.
    products = nodes.add("MatMul", active, nodes.constant(pooling.query[:, None]))  # (B, T, 1)
    logits = nodes.add("Squeeze", products, nodes.integers(-1))  # (B, T)
    unmasked = nodes.add("Where", mask, logits, nodes.number(LOWEST))
    shares = nodes.add("Softmax", unmasked, axis=-1)
    weights = nodes.add("Mul", shares, nodes.add("Cast", mask, to=TensorProto.FLOAT))
    rows = nodes.add("Unsqueeze", weights, nodes.integers(1))  # (B, 1, T)
    return nodes.add("Squeeze", nodes.add("MatMul", rows, x), nodes.integers(1), out=out)


def _unit_length(nodes: Nodes, x: str, *, out: str) -> str:
    length = nodes.add("ReduceL2", x, nodes.integers(-1), keepdims=1)
    return nodes.add("Div", x, nodes.add("Max", length, nodes.number(MIN_LENGTH)), out=out)
