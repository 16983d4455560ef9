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
        wide, read = candidates.astype(np.float64), history.astype(np.float64)
        match = wide @ user  # (C,)
        if len(read):
            match = match + self.attention * attended_match(read, wide, self.temperature)
        return (self.scale * match + wide @ self.content).astype(np.float32)

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


def attended_match(history: Matrix, candidates: Matrix, temperature: float) -> Matrix:
    """Average each candidate's match with the history, weighted by that match: (C,)."""
    match = history @ candidates.T  # (H, C)
    return np.asarray((attention_weights(match, temperature) * match).sum(axis=0))  # (C,)


def attention_weights(match: Matrix, temperature: float) -> Matrix:
    """Softmax over the history of temperature * match: (H, C) -> (H, C), columns sum to 1."""
    logits = temperature * match
    weights = np.exp(logits - logits.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0))
