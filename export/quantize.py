"""Quantise: int8 weights and, per row, int8 activations, so that no text depends on its batch.

Each row of activations (one token of one text) gets its own scale while the graph runs. Nothing is
calibrated: equal weights give equal bytes, and a text's vector is the same alone and in any batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.nodes import Nodes
from export.parameters import Array

LEVELS = 127
# ONNX Runtime has fast kernels for unsigned by signed only: activations are shifted by this.
SHIFT = 128
# A row of zeros keeps a finite reciprocal.
TINY = 1e-30


class RowwiseInt8:
    """Tables in int8 with a scale per row, products in int8 with a scale per row and column."""

    def lookup(self, nodes: Nodes, table: Array, ids: str) -> str:
        """Take rows of a table (V, H) by ids (B, T) -> (B, T, H)."""
        scales = _nonzero(np.abs(table).max(axis=1, keepdims=True) / LEVELS)  # (V, 1)
        rows = nodes.add("Gather", nodes.constant(_rounded(table / scales)), ids)
        row_scales = nodes.add("Gather", nodes.constant(scales), ids)  # (B, T, 1)
        return nodes.add("Mul", nodes.add("Cast", rows, to=1), row_scales)

    def products(self, nodes: Nodes, x: str, *weights: Array) -> list[str]:
        """Multiply x (..., in) by each of the weights (out, in) -> (..., out)."""
        quantised, largest = _quantise_rows(nodes, x)
        return [_product(nodes, quantised, largest, weight) for weight in weights]


def saturation_free(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Quantise a weight (out, in) per output -> int8 (in, out) and scales (out,).

    AVX2 without VNNI adds the products of two neighbouring inputs in 16 bits. Activations reach
    255, so no two neighbouring weights may sum to more than 128: a column's scale is that of its
    largest weight or of its largest neighbouring sum, whichever needs more room.
    """
    pairs = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2))).reshape(len(weight), -1, 2)
    room = np.maximum(np.abs(weight).max(axis=1), np.abs(pairs.sum(axis=2)).max(axis=1))  # (out,)
    scales = _nonzero(room / LEVELS)
    return np.ascontiguousarray(_rounded(weight / scales[:, None]).T), scales


def _quantise_rows(nodes: Nodes, x: str) -> tuple[str, str]:
    """Return x as unsigned bytes around SHIFT, and each row's largest magnitude (..., 1)."""
    last = nodes.integers(-1)
    highest = nodes.add("ReduceMax", x, last, keepdims=1)
    lowest = nodes.add("ReduceMin", x, last, keepdims=1)
    largest = nodes.add("Max", highest, nodes.add("Neg", lowest), nodes.number(TINY))
    # The reciprocal first: dividing the wide array instead costs three times as much.
    factor = nodes.add("Div", nodes.number(LEVELS), largest)
    levels = nodes.add("Mul", x, factor)
    zero = nodes.constant(np.array(SHIFT, dtype=np.uint8))
    return nodes.add("QuantizeLinear", levels, nodes.number(1.0), zero), largest


def _product(nodes: Nodes, quantised: str, largest: str, weight: Array) -> str:
    levels, scales = saturation_free(weight)
    product = nodes.add_fused(
        "MatMulIntegerToFloat",
        quantised,
        nodes.constant(levels),
        nodes.number(1.0),
        nodes.constant(np.asarray(scales / LEVELS)),
        nodes.constant(np.array(SHIFT, dtype=np.uint8)),
    )
    return nodes.add("Mul", product, largest)


def _nonzero(scales: Array) -> Array:
    return np.maximum(scales, TINY).astype(np.float32)


def _rounded(levels: Array) -> NDArray[np.int8]:
    return np.clip(np.rint(levels), -LEVELS, LEVELS).astype(np.int8)
