"""Precision: how tables are looked up and inputs multiplied by weights; here in float32."""

from __future__ import annotations

from typing import Protocol

from export.nodes import Nodes
from export.parameters import Array


class Precision(Protocol):
    """What `graph.py` leaves open: the same graph comes in float32 and in int8."""

    def lookup(self, nodes: Nodes, table: Array, ids: str) -> str:
        """Take rows of a table (V, H) by ids (B, T) -> (B, T, H) float32."""
        ...

    def products(self, nodes: Nodes, x: str, *weights: Array) -> list[str]:
        """Multiply x (..., in) by each of the weights (out, in) -> (..., out) float32."""
        ...


class Float32:
    """Weights as they were trained."""

    def lookup(self, nodes: Nodes, table: Array, ids: str) -> str:
        """Take rows of a table (V, H) by ids (B, T) -> (B, T, H)."""
        return nodes.add("Gather", nodes.constant(table), ids)

    def products(self, nodes: Nodes, x: str, *weights: Array) -> list[str]:
        """Multiply x (..., in) by each of the weights (out, in) -> (..., out)."""
        return [nodes.add("MatMul", x, nodes.constant(weight.T)) for weight in weights]
