"""The click score, in NumPy: the one implementation that evaluation, export and service call.

score(history, v) = s * (u . v + lambda * t) + b . v
t                 = sum_j softmax_j(tau * h_j . v) * (h_j . v)

u is the user encoder's vector, h_j the vectors of the history, b a linear content term. Scores
rank; they are not probabilities.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.article import Vectors


@dataclass(frozen=True)
class ClickModel:
    """The learnt numbers of the score: s, lambda, tau and b (D,)."""

    scale: float
    attention: float
    temperature: float
    content: NDArray[np.float32]

    def score(self, user: Vectors, history: Vectors, candidates: Vectors) -> Vectors:
        """Score candidates for one reader: (D,), (H, D), (C, D) -> (C,); H may be 0."""
        match = candidates @ user  # (C,)
        if len(history):
            match = match + self.attention * attended_match(history, candidates, self.temperature)
        return np.asarray(self.scale * match + candidates @ self.content, dtype=np.float32)

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


def attended_match(history: Vectors, candidates: Vectors, temperature: float) -> Vectors:
    """Average each candidate's match with the history, weighted by that match: (C,)."""
    match = history @ candidates.T  # (H, C)
    return np.asarray((attention_weights(match, temperature) * match).sum(axis=0))  # (C,)


def attention_weights(match: Vectors, temperature: float) -> Vectors:
    """Softmax over the history of temperature * match: (H, C) -> (H, C), columns sum to 1."""
    logits = temperature * match
    weights = np.exp(logits - logits.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0))
