"""Static scales: what most products read is quantised by constants, found by calibration.

A few channels of an encoder are many times wider than the others, so one scale for all of them
would leave the others few levels. As in SmoothQuant (Xiao et al. 2023, section 4), each channel is
divided by a factor of its own, which the weights that read it are multiplied by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from export.calibration import LayerReach, Reach
from export.nodes import Nodes
from export.parameters import Array, Layer, Linear, NewsParameters
from export.quantize import LEVELS, SHIFT, RowwiseInt8, integer_product

# How much of the difference between channels moves into the weights. Measured: 0.8 is nearest to
# float32, and 0.65 to 1.0 hardly differ from it.
SMOOTHING = 0.8
# Room above what calibration has seen; anything beyond is cut off.
MARGIN = 1.25
# Scales are powers of 2 ** (1 / GRID): rounding of the sums that calibration is made of, which
# differs between machines, then moves none of them.
GRID = 8
# A channel or a weight column of nothing but zeros keeps a finite factor.
LEAST_REACH, LEAST_WEIGHT = 1e-3, 1e-5


class StaticInt8(RowwiseInt8):
    """As per row, but for the layers whose input's levels are known: these need no look at it."""

    def per_token(
        self, nodes: Nodes, x: str, *parts: Linear, lowest: float | None = None
    ) -> list[str]:
        """Apply dense layers to x (B, T, in) -> (B, T, out) each."""
        steps = parts[0].steps
        if steps is None:
            return super().per_token(nodes, x, *parts, lowest=lowest)
        # Already in levels where each step is 1.
        levels = x if (steps == 1).all() else nodes.add("Mul", x, nodes.constant(1 / steps))
        zero = nodes.constant(np.array(SHIFT, dtype=np.uint8))
        quantised = nodes.add("QuantizeLinear", levels, nodes.number(1.0), zero)
        return [integer_product(nodes, quantised, p.weight * steps, p.bias) for p in parts]


def with_static_scales(parameters: NewsParameters, reach: Reach) -> NewsParameters:
    """Return parameters of the same function whose layers know the levels of what they read.

    All but the one after the activation, whose channels are too uneven: a scale per row is nearer
    to float32 there and costs little.
    """
    pooling = parameters.pooling
    steps = level_steps(reach.projection, pooling.projection.weight)
    return replace(
        parameters,
        layers=tuple(
            _with_static_scales(layer, seen)
            for layer, seen in zip(parameters.layers, reach.layers, strict=True)
        ),
        pooling=replace(pooling, projection=replace(pooling.projection, steps=steps)),
    )


def level_steps(reach: NDArray[np.float64], *weights: Array) -> Array:
    """Return the size of one level of each channel (in,), which all of the weights (out, in) read.

    `reach` (in,) is the largest magnitude that each channel has been seen with.
    """
    room = MARGIN * np.maximum(reach, LEAST_REACH)
    widest = np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0)
    factors = room**SMOOTHING / np.maximum(widest, LEAST_WEIGHT) ** (1 - SMOOTHING)
    smoothing = _up_to_grid(factors)
    scale = _up_to_grid(np.max(room / smoothing, keepdims=True)) / LEVELS
    return np.asarray(smoothing * scale, dtype=np.float32)


def _with_static_scales(layer: Layer, reach: LayerReach) -> Layer:
    read = (layer.query, layer.key, layer.value)
    query, key, value = (replace(part, steps=_steps(reach.query, *read)) for part in read)
    attended = _steps(reach.attended, layer.attended)
    # Attention's output is a mean of values: values in levels make it one, without a product.
    value = replace(value, weight=value.weight / attended[:, None])
    return replace(
        layer,
        query=query,
        key=key,
        value=value,
        attended=replace(
            layer.attended,
            weight=layer.attended.weight * attended,
            steps=np.ones_like(attended),
        ),
        intermediate=replace(
            layer.intermediate, steps=_steps(reach.intermediate, layer.intermediate)
        ),
    )


def _steps(reach: NDArray[np.float64], *parts: Linear) -> Array:
    return level_steps(reach, *(part.weight for part in parts))


def _up_to_grid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2.0 ** (np.ceil(np.log2(x) * GRID) / GRID))
