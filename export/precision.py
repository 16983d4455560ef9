"""Precision: how tables are looked up and inputs multiplied by weights; here in float32."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from onnx import TensorProto

from export.nodes import Nodes
from export.parameters import Array, Linear


class Precision(Protocol):
    """What `graph.py` leaves open: the same graph comes in float32 and in int8."""

    def constant(self, nodes: Nodes, value: Array) -> str:
        """Add a constant that the graph reads as float32, however it is stored."""
        ...

    def lookup(self, nodes: Nodes, table: Array, ids: str) -> str:
        """Take rows of a table (V, H) by ids (B, T) -> (B, T, H) float32."""
        ...

    def per_token(
        self, nodes: Nodes, x: str, *parts: Linear, lowest: float | None = None
    ) -> list[str]:
        """Apply dense layers to x (B, T, in) -> (B, T, out) each: what takes the time.

        No number of x is below `lowest`, where that is known.
        """
        ...

    def per_text(self, nodes: Nodes, x: str, part: Linear, *, out: str = "") -> str:
        """Apply a dense layer to x (B, in) -> (B, out): costs nothing, and ranks depend on it."""
        ...


class Float32:
    """Weights as they were trained."""

    def constant(self, nodes: Nodes, value: Array) -> str:
        """Add a constant as it is."""
        return nodes.constant(value)

    def lookup(self, nodes: Nodes, table: Array, ids: str) -> str:
        """Take rows of a table (V, H) by ids (B, T) -> (B, T, H)."""
        return nodes.add("Gather", self.constant(nodes, table), ids)

    def per_token(
        self, nodes: Nodes, x: str, *parts: Linear, lowest: float | None = None
    ) -> list[str]:
        """Apply dense layers to x (B, T, in) -> (B, T, out) each."""
        return [self.per_text(nodes, x, part) for part in parts]

    def per_text(self, nodes: Nodes, x: str, part: Linear, *, out: str = "") -> str:
        """Apply a dense layer to x (..., in) -> (..., out)."""
        weight = self.constant(nodes, part.weight.T)
        if not part.bias.any():
            return nodes.add("MatMul", x, weight, out=out)
        return add_bias(nodes, nodes.add("MatMul", x, weight), part.bias, out=out)


class StoredFloat16(Float32):
    """Large constants stored in half the bytes; computed with in float32.

    ONNX Runtime widens them once, when it loads the graph.
    """

    def constant(self, nodes: Nodes, value: Array) -> str:
        """Add a constant as float16 and widen it."""
        half = value.astype(np.float16)
        return nodes.add("Cast", nodes.constant(half), to=TensorProto.FLOAT)


def add_bias(nodes: Nodes, x: str, bias: Array, *, out: str = "") -> str:
    """Add a bias (out,) to x (..., out).

    Subtracting what is negated is the same sum, but keeps ONNX Runtime from fusing it with an
    activation into BiasGelu, which is slower than the two nodes.
    """
    return nodes.add("Sub", x, nodes.constant(-bias), out=out)
