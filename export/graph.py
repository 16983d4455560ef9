"""Graphs: the news encoder and the user encoder as ONNX, node by node from their parameters.

Traced exports differ between versions of torch and write the machine's paths into the graph; a
graph written by hand is the same bytes everywhere and holds one fused attention node per layer.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from export.errors import UnsupportedModel
from export.nodes import Nodes
from export.parameters import Array, Layer, Linear, NewsParameters, Norm, Pooling
from export.precision import Float32, Precision

# torch.finfo(float32).min, which the torch pooling uses too.
LOWEST = float(np.finfo(np.float32).min)
# Below this length torch.nn.functional.normalize divides by it instead.
MIN_LENGTH = 1e-12
TANH_GELUS = frozenset({"gelu_new", "gelu_fast", "gelu_pytorch_tanh"})
TEXT_SHAPE = ("batch", "length")


def news_encoder_graph(parameters: NewsParameters, precision: Precision) -> bytes:
    """Build ids, mask (B, T) int64 -> vector (B, D) of unit length, topic_logits (B, topics)."""
    body = _Transformer(parameters, precision)
    nodes = body.nodes
    is_token = nodes.add("Cast", "mask", to=TensorProto.BOOL)
    pooled = _pool(nodes, parameters.pooling, body.states(), is_token, precision=precision)
    # Per text, not per token: these two cost nothing in float32, and ranks depend on them most.
    vector = _dense(nodes, Float32(), pooled, parameters.dense)
    _unit_length(nodes, vector, out="vector")
    _dense(nodes, Float32(), pooled, parameters.topics, out="topic_logits")
    return nodes.to_bytes(
        "news_encoder",
        inputs={"ids": ("int64", TEXT_SHAPE), "mask": ("int64", TEXT_SHAPE)},
        outputs={
            "vector": ("float32", ("batch", len(parameters.dense.bias))),
            "topic_logits": ("float32", ("batch", len(parameters.topics.bias))),
        },
    )


def user_encoder_graph(pooling: Pooling) -> bytes:
    """Build history (B, H, D), mask (B, H) bool -> user (B, D); no click at all gives zeros."""
    nodes = Nodes()
    dim = pooling.projection.weight.shape[1]
    _pool(nodes, pooling, "history", "mask", precision=Float32(), out="user")
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
        self._ones = self._per_position(1.0)
        self._zeros = self._per_position(0.0)

    def states(self) -> str:
        """Add everything up to the last layer's output."""
        tokens = self._precision.lookup(self.nodes, self._parameters.tokens, "ids")
        embedded = self.nodes.add("Add", tokens, self._positions())
        states = self._normalise(embedded, self._parameters.embedding_norm)
        for layer in self._parameters.layers:
            states = self._feed_forward(self._attend(states, layer), layer)
        return states

    def _positions(self) -> str:
        table = self.nodes.constant(self._parameters.positions)
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
        products = self._precision.products(self.nodes, states, *(p.weight for p in parts))
        query, key, value = (
            self._add_bias(product, part) for product, part in zip(products, parts, strict=True)
        )
        heads = self._parameters.architecture.heads
        attended = self.nodes.add_fused(
            "MultiHeadAttention", query, key, value, "", self._key_mask, num_heads=heads
        )
        output = _dense(self.nodes, self._precision, attended, layer.attended)
        return self._normalise(self.nodes.add("Add", output, states), layer.attended_norm)

    def _feed_forward(self, states: str, layer: Layer) -> str:
        product = self._precision.products(self.nodes, states, layer.intermediate.weight)[0]
        active = self._activate(product, layer.intermediate.bias)
        output = _dense(self.nodes, self._precision, active, layer.output)
        return self._normalise(self.nodes.add("Add", output, states), layer.output_norm)

    def _activate(self, product: str, bias: Array) -> str:
        # Subtracting the negated bias is the same sum, but keeps ONNX Runtime from fusing it into
        # its BiasGelu, which is slower than the two nodes (measured: 140 against 100 ms).
        x = self.nodes.add("Sub", product, self.nodes.constant(-bias))
        name = self._parameters.architecture.activation
        if name == "relu":
            return self.nodes.add("Relu", x)
        if name == "gelu" or name in TANH_GELUS:
            approximate = "tanh" if name in TANH_GELUS else "none"
            return self.nodes.add("Gelu", x, approximate=approximate)
        if name in ("silu", "swish"):
            return self.nodes.add("Mul", x, self.nodes.add("Sigmoid", x))
        raise UnsupportedModel(f"activation {name!r} has no graph")

    def _normalise(self, x: str, norm: Norm) -> str:
        # ONNX Runtime's LayerNormalization is scalar code, InstanceNormalization is vectorised:
        # with each position as a channel it is the same mean and variance in a seventh of the time.
        epsilon = self._parameters.architecture.layer_norm_eps
        centred = self.nodes.add(
            "InstanceNormalization", x, self._ones, self._zeros, epsilon=epsilon
        )
        scaled = self.nodes.add("Mul", centred, self.nodes.constant(norm.gain))
        return self.nodes.add("Add", scaled, self.nodes.constant(norm.bias))

    def _per_position(self, value: float) -> str:
        return self.nodes.add("Expand", self.nodes.number(value), self._length)  # (T,)

    def _add_bias(self, product: str, part: Linear) -> str:
        return self.nodes.add("Add", product, self.nodes.constant(part.bias))


def _pool(
    nodes: Nodes, pooling: Pooling, x: str, mask: str, *, precision: Precision, out: str = ""
) -> str:
    """Add additive attention: x (B, T, D) under mask (B, T) bool -> (B, D); all masked gives 0."""
    active = nodes.add("Tanh", _dense(nodes, precision, x, pooling.projection))
    logits = nodes.add("MatMul", active, nodes.constant(pooling.query))  # (B, T)
    unmasked = nodes.add("Where", mask, logits, nodes.number(LOWEST))
    shares = nodes.add("Softmax", unmasked, axis=-1)
    weights = nodes.add("Mul", shares, nodes.add("Cast", mask, to=TensorProto.FLOAT))
    rows = nodes.add("Unsqueeze", weights, nodes.integers(1))  # (B, 1, T)
    return nodes.add("Squeeze", nodes.add("MatMul", rows, x), nodes.integers(1), out=out)


def _dense(nodes: Nodes, precision: Precision, x: str, part: Linear, *, out: str = "") -> str:
    product = precision.products(nodes, x, part.weight)[0]
    return nodes.add("Add", product, nodes.constant(part.bias), out=out)


def _unit_length(nodes: Nodes, x: str, *, out: str) -> str:
    length = nodes.add("ReduceL2", x, nodes.integers(-1), keepdims=1)
    return nodes.add("Div", x, nodes.add("Max", length, nodes.number(MIN_LENGTH)), out=out)
