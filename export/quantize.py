"""Quantise: int8 weights and, per row, int8 activations, so that no text depends on its batch.

Each row of activations (one token of one text) gets its own scale while the graph runs, so a text's
vector is the same alone and in any batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.nodes import Nodes
from export.parameters import Array, Linear
from export.precision import StoredFloat16, add_bias

LEVELS = 127
# ONNX Runtime has fast kernels for unsigned by signed only: activations are shifted by this.
SHIFT = 128
# A row of zeros keeps a finite reciprocal.
TINY = 1e-30


class RowwiseInt8(StoredFloat16):
    """Tables in int8 with a scale per row, products in int8 with a scale per row and column."""

    def lookup(self, nodes: Nodes, table: Array, ids: str) -> str:
        """Take rows of a table (V, H) by ids (B, T) -> (B, T, H)."""
        levels, scales = quantised_rows(table)
        rows = nodes.add("Gather", nodes.constant(levels), ids)
        row_scales = nodes.add("Gather", nodes.constant(scales), ids)  # (B, T, 1)
        widened = (nodes.add("Cast", part, to=TensorProto.FLOAT) for part in (rows, row_scales))
        return nodes.add("Mul", *widened)

    def per_token(
        self, nodes: Nodes, x: str, *parts: Linear, lowest: float | None = None
    ) -> list[str]:
        """Apply dense layers to x (B, T, in) -> (B, T, out) each."""
        quantised, scale = quantise_rows(nodes, x, parts[0].weight.shape[1], lowest=lowest)
        products = (integer_product(nodes, quantised, part.weight) for part in parts)
        rescaled = [nodes.add("Mul", product, scale) for product in products]
        return [
            add_bias(nodes, x, part.bias) if part.bias.any() else x
            for x, part in zip(rescaled, parts, strict=True)
        ]


def saturation_free(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Quantise a weight (out, in) per output -> int8 (in, out) and scales (out,).

    AVX2 without VNNI adds the products of two neighbouring inputs in 16 bits. Activations reach
    255, so no two neighbouring weights may sum to more than 128: a column's scale is that of its
    largest weight or of its largest neighbouring sum, whichever needs more room.
    """
    pairs = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2))).reshape(len(weight), -1, 2)
    room = np.maximum(np.abs(weight).max(axis=1), np.abs(pairs.sum(axis=2)).max(axis=1))  # (out,)
    scales = np.maximum(room / LEVELS, TINY).astype(np.float32)
    return np.ascontiguousarray(_rounded(weight / scales[:, None]).T), scales


def quantised_rows(table: Array) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Quantise a table (V, H) per row -> int8 (V, H) and scales (V, 1) that need two bytes each."""
    least = np.finfo(np.float16).smallest_subnormal
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / LEVELS, least)
    stored = scales.astype(np.float16)
    # Levels of the scale as it is stored: its rounding is then no error.
    return _rounded(table / stored.astype(np.float32)), stored


def quantise_rows(
    nodes: Nodes, x: str, width: int, *, lowest: float | None = None
) -> tuple[str, str]:
    """Return x (B, T, width) as unsigned bytes around SHIFT, and each row's scale (B, T, 1)."""
    last = nodes.integers(-1)
    highest = nodes.add("ReduceMax", x, last, keepdims=1)
    if lowest is None:
        below = nodes.add("Neg", nodes.add("ReduceMin", x, last, keepdims=1))
        largest = nodes.add("Max", highest, below, nodes.number(TINY))
    else:
        largest = nodes.add("Max", highest, nodes.number(max(-lowest, TINY)))
    scale = nodes.add("Div", largest, nodes.number(LEVELS))
    zero = nodes.constant(np.array(SHIFT, dtype=np.uint8))
    zeros = nodes.add("Expand", zero, nodes.add("Shape", scale))
    # A row is a block, which is what gives it a scale of its own in one pass over the wide array.
    return nodes.add("QuantizeLinear", x, scale, zeros, axis=-1, block_size=width), scale


def integer_product(nodes: Nodes, quantised: str, weight: Array, bias: Array | None = None) -> str:
    """Multiply bytes (..., in) around SHIFT by a weight (out, in) -> (..., out), add a bias."""
    levels, scales = saturation_free(weight)
    factors = (nodes.constant(levels), nodes.number(1.0), nodes.constant(scales))
    zero = nodes.constant(np.array(SHIFT, dtype=np.uint8))
    more = () if bias is None or not bias.any() else ("", nodes.constant(bias))
    return nodes.add_fused("MatMulIntegerToFloat", quantised, *factors, zero, *more)


def _rounded(levels: Array) -> NDArray[np.int8]:
    return np.clip(np.rint(levels), -LEVELS, LEVELS).astype(np.int8)
