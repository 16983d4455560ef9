"""Parameters: what the graphs need of a student, as NumPy arrays by role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from export.errors import UnsupportedModel
from training.model import Architecture, Student

Array: TypeAlias = NDArray[np.float32]
State: TypeAlias = dict[str, Array]

# The families whose padding position comes before the first one (transformers' RoBERTa).
OFFSET_FAMILIES = frozenset({"roberta", "xlm-roberta", "camembert"})
FAMILIES = OFFSET_FAMILIES | {"bert"}


@dataclass(frozen=True)
class Linear:
    """A dense layer: weight (out, in) and bias (out,).

    `steps` (in,) are the sizes of one level of what it reads, where these are fixed beforehand.
    """

    weight: Array
    bias: Array
    steps: Array | None = None

    def negated(self) -> Linear:
        """Return the layer whose outputs have the other sign."""
        return replace(self, weight=-self.weight, bias=-self.bias)


@dataclass(frozen=True)
class Norm:
    """A layer normalisation: gain and bias (width,)."""

    gain: Array
    bias: Array


@dataclass(frozen=True)
class Layer:
    """One transformer layer, normalised after each residual sum.

    The biases of key and value are zeros: a key's would shift all scores of a query alike, which
    softmax does not see, and a value's, whose weights sum to 1, is part of `attended`'s.
    """

    query: Linear
    key: Linear
    value: Linear
    attended: Linear
    attended_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm


@dataclass(frozen=True)
class Pooling:
    """Additive attention: projection to the query width and the query (width,)."""

    projection: Linear
    query: Array


@dataclass(frozen=True)
class NewsParameters:
    """The news encoder with its topic head.

    `positions` holds a row per position up to the longest text, with the row of token type 0 added
    to each. Where `offset_positions`, its first row is that of padding.
    """

    architecture: Architecture
    tokens: Array
    positions: Array
    offset_positions: bool
    embedding_norm: Norm
    layers: tuple[Layer, ...]
    pooling: Pooling
    dense: Linear
    topics: Linear


def news_parameters(student: Student, *, max_tokens: int) -> NewsParameters:
    """Read the news encoder; an architecture without a graph raises UnsupportedModel."""
    architecture, state = student.architecture, _state(student)
    if architecture.family not in FAMILIES:
        supported = ", ".join(sorted(FAMILIES))
        raise UnsupportedModel(f"family {architecture.family!r}: only {supported}")
    backbone = "news_encoder.backbone"
    return NewsParameters(
        architecture=architecture,
        tokens=state[f"{backbone}.embeddings.word_embeddings.weight"],
        positions=_positions(architecture, state, max_tokens),
        offset_positions=architecture.family in OFFSET_FAMILIES,
        embedding_norm=_norm(state, f"{backbone}.embeddings.LayerNorm"),
        layers=tuple(
            _layer(state, f"{backbone}.encoder.layer.{i}") for i in range(architecture.layers)
        ),
        pooling=_pooling(state, "news_encoder.pooling"),
        dense=_linear(state, "news_encoder.dense"),
        topics=_linear(state, "topic_head.linear"),
    )


def user_parameters(student: Student) -> Pooling:
    """Read the user encoder."""
    return _pooling(_state(student), "user_encoder.pooling")


def _state(student: Student) -> State:
    return {
        name: tensor.detach().float().cpu().numpy() for name, tensor in student.state_dict().items()
    }


def _positions(architecture: Architecture, state: State, max_tokens: int) -> Array:
    embeddings = "news_encoder.backbone.embeddings"
    table = state[f"{embeddings}.position_embeddings.weight"]
    offset = architecture.family in OFFSET_FAMILIES
    first, count = (architecture.pad_id, max_tokens + 1) if offset else (0, max_tokens)
    rows = table[first : first + count]  # (max_tokens [+ 1], H)
    if len(rows) < count:
        raise UnsupportedModel(f"max_tokens {max_tokens}: the model has {len(rows)} positions")
    return np.asarray(rows + state[f"{embeddings}.token_type_embeddings.weight"][0])


def _layer(state: State, name: str) -> Layer:
    value = _linear(state, f"{name}.attention.self.value")
    return Layer(
        query=_linear(state, f"{name}.attention.self.query"),
        key=_unbiased(_linear(state, f"{name}.attention.self.key")),
        value=_unbiased(value),
        attended=_shifted(_linear(state, f"{name}.attention.output.dense"), value.bias),
        attended_norm=_norm(state, f"{name}.attention.output.LayerNorm"),
        intermediate=_linear(state, f"{name}.intermediate.dense"),
        output=_linear(state, f"{name}.output.dense"),
        output_norm=_norm(state, f"{name}.output.LayerNorm"),
    )


def _unbiased(part: Linear) -> Linear:
    return replace(part, bias=np.zeros_like(part.bias))


def _shifted(part: Linear, shift: Array) -> Linear:
    """Return the layer that does to x what `part` does to x + shift."""
    # Sums that are exact, then rounded once: a matrix product's last bits are the machine's own.
    shares = part.weight.astype(np.float64) * shift
    moved = [fsum((bias, *row)) for bias, row in zip(part.bias.tolist(), shares, strict=True)]
    return replace(part, bias=np.array(moved, dtype=np.float32))


def _pooling(state: State, name: str) -> Pooling:
    return Pooling(_linear(state, f"{name}.projection"), state[f"{name}.query.weight"][0])


def _linear(state: State, name: str) -> Linear:
    return Linear(state[f"{name}.weight"], state[f"{name}.bias"])


def _norm(state: State, name: str) -> Norm:
    return Norm(state[f"{name}.weight"], state[f"{name}.bias"])
