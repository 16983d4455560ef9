"""Gated layers: additive attention pooling out of two token-wise linear layers, each before a GLU.

What sentence-transformers composes has no additive attention, but its Dense takes any activation of
torch, and GLU multiplies: GLU(v, g) = v * sigmoid(g). Softmax weights sum to 1, so the dense layer
may stand before the pooling; and a vector that is normalised in the end needs no denominator:

    normalise(dense(sum_t softmax(s)_t x_t)) = normalise(mean_t(exp(s_t) * dense(x_t)))

The first layer gives dense(x), halved by gates that nothing moves, and sigmoid(2z) of z = Wx + b,
from which tanh(z) = 2 sigmoid(2z) - 1. The second multiplies dense(x) by sigmoid(s - c), which is
exp(s - c) less a share of at most exp(s - c): c is MARGIN above any score, for none exceeds |q|_1.
"""

from __future__ import annotations

import numpy as np

from export.errors import UnsupportedModel
from export.parameters import Array, Linear, Pooling

# Weights are less by a share of at most exp(-8) = 0.0003, which moves a cosine by about 1e-8. With
# a wider margin half precision would lose the smallest weights.
MARGIN = 8.0
# Trained queries reach 2 to 4. Far beyond, a mean could be shorter than 1e-12, which torch's
# normalise does not make longer.
MAX_BOUND = 16.0


def gated_layers(pooling: Pooling, dense: Linear) -> tuple[Linear, Linear]:
    """Return the layers (2 * (D + Q), H) and (2 * D, D + Q); each is followed by a GLU.

    The normalised mean of what comes out, over the unmasked tokens, is the vector. An attention
    query whose scores may exceed 16 raises UnsupportedModel.
    """
    bound = float(np.abs(pooling.query).sum())
    if not bound <= MAX_BOUND:
        raise UnsupportedModel(f"attention scores may reach {bound:.1f}, more than {MAX_BOUND:.0f}")
    return _first(pooling, dense), _second(pooling.query, len(dense.bias), bound)


def _first(pooling: Pooling, dense: Linear) -> Linear:
    """Give dense(x) / 2 and sigmoid(2(Wx + b)): (H,) -> (D + Q,)."""
    projection = pooling.projection
    (dim, hidden), width = dense.weight.shape, len(projection.bias)
    values = _stack(dense, _constant(width, hidden, 1.0))
    gates = _stack(_constant(dim, hidden, 0.0), Linear(2 * projection.weight, 2 * projection.bias))
    return _stack(values, gates)


def _second(query: Array, dim: int, bound: float) -> Linear:
    """Give dense(x) * exp(s), but for a common factor: (D + Q,) -> (D,)."""
    # The factor lifts what the margin has lowered; half precision still holds it.
    factor = np.float32(np.exp(bound + MARGIN / 2))
    values = _constant(dim, dim + len(query), 0.0)
    values.weight[:, :dim] = factor * np.eye(dim, dtype=np.float32)
    # s = q . tanh(z) = 2 q . sigmoid(2z) - sum(q), the same for every channel.
    gates = _constant(dim, dim + len(query), -float(query.sum()) - bound - MARGIN)
    gates.weight[:, dim:] = 2 * query
    return _stack(values, gates)


def _constant(outputs: int, inputs: int, value: float) -> Linear:
    weight = np.zeros((outputs, inputs), dtype=np.float32)
    return Linear(weight, np.full(outputs, value, dtype=np.float32))


def _stack(upper: Linear, lower: Linear) -> Linear:
    """Give the outputs of both."""
    return Linear(
        np.concatenate([upper.weight, lower.weight]), np.concatenate([upper.bias, lower.bias])
    )
