"""The click score, in NumPy: the one implementation that evaluation, export and service call.

score(history, v) = s * (u . v + lambda * t) + b . v
t                 = sum_j softmax_j(tau * h_j . v) * (h_j . v)

u is the user encoder's vector, h_j the vectors of the history, b a linear content term. Scores
rank; they are not probabilities.
"""

import json
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.article import Vectors

Matrix: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class ClickModel:
    """The learnt numbers of the score: s, lambda, tau and b (D,)."""

    scale: float
    attention: float
    temperature: float
    content: NDArray[np.float32]

    def score(self, user: Vectors, history: Vectors, candidates: Vectors) -> Vectors:
        """Score candidates for one reader: (D,), (H, D), (C, D) -> (C,); H may be 0."""
        # In double precision: a matrix product rounds a row by where it stands, and two articles
        # with one vector must tie exactly, so that their ids decide.
        factors = self.factors(user, history).astype(np.float64)  # (H + 2, D)
        return self.combine(factors @ candidates.astype(np.float64).T).astype(np.float32)

    def factors(self, user: Vectors, history: Vectors) -> Vectors:
        """Stack what a candidate is multiplied by: h_1 to h_H, u and b (H + 2, D)."""
        return np.concatenate([history, user[None], self.content[None]], dtype=np.float32)

    def combine(self, products: Matrix) -> Matrix:
        """Score candidates from their inner products with the factors: (H + 2, C) -> (C,).

        The formula itself, in the precision of the products.
        """
        match, linear, content = products[:-2], products[-2], products[-1]
        if len(match):
            linear = linear + self.attention * attended_match(match, self.temperature)
        return np.asarray(self.scale * linear + content)

    def retrieval_query(self, user: Vectors) -> Vectors:
        """Fold the content term into the user vector, so that one inner product retrieves."""
        return np.asarray(user + self.content / self.scale, dtype=np.float32)

    def to_json(self) -> bytes:
        """Write the numbers as canonical JSON."""
        return json.dumps(
            {
                "attention": self.attention,
                "content": [float(x) for x in self.content],
                "scale": self.scale,
                "temperature": self.temperature,
            },
            sort_keys=True,
            allow_nan=False,
        ).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "ClickModel":
        """Read what `to_json` wrote."""
        data = json.loads(raw)
        return cls(
            scale=float(data["scale"]),
            attention=float(data["attention"]),
            temperature=float(data["temperature"]),
            content=np.asarray(data["content"], dtype=np.float32),
        )


def attended_match(match: Matrix, temperature: float) -> Matrix:
    """Average a candidate's matches with the history, weighted by themselves: (H, C) -> (C,)."""
    weights, ones = _exponentials(match, temperature), np.ones(len(match), match.dtype)
    total = ones @ weights
    # Sums by product, and one division at the end: no pass over the matrix but these three.
    weights *= match
    return np.asarray(ones @ weights / total)


def attention_weights(match: Matrix, temperature: float) -> Matrix:
    """Softmax over the history of temperature * match: (H, C) -> (H, C), columns sum to 1."""
    weights = _exponentials(match, temperature)
    weights /= weights.sum(axis=0)
    return weights


def _exponentials(match: Matrix, temperature: float) -> Matrix:
    """Exponentials of temperature * match over the highest of each column: (H, C) -> (H, C)."""
    weights = np.asarray(temperature * match)
    # In place: this is the larger part of scoring a request.
    weights -= weights.max(axis=0)
    np.exp(weights, out=weights)
    return weights
