"""How far two encoders of the same texts agree, whatever their widths."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from benchmarks.comparison import DIGITS, BenchmarkError
from contract.article import Vectors

NEIGHBOURS = 10


class Encoder(Protocol):
    """Texts to vectors."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over pairs of texts: the share of common nearest ten, and the correlation of similarities."""

    top10_overlap: float
    correlation: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def check_vectors(name: str, vectors: Vectors, count: int) -> None:
    """Raise BenchmarkError unless there are `count` finite vectors of unit length."""
    if len(vectors) != count or not np.isfinite(vectors).all():
        raise BenchmarkError(f"{name}: not {count} finite vectors")
    worst = np.abs(np.linalg.norm(vectors, axis=1) - 1).max()
    if worst > 1e-3:
        raise BenchmarkError(f"{name}: a length is {worst:.2g} off 1")


def agreement(a: Vectors, b: Vectors) -> Agreement:
    """Compare similarity matrices without their diagonals: (N, D), (N, E)."""
    first, second = a @ a.T, b @ b.T  # (N, N)
    others = ~np.eye(len(first), dtype=bool)
    correlation = np.corrcoef(first[others], second[others])[0, 1]
    overlap = np.mean(
        [len(x & y) / NEIGHBOURS for x, y in zip(nearest(first), nearest(second), strict=True)]
    )
    return Agreement(round(float(overlap), DIGITS), round(float(correlation), DIGITS))


def nearest(similarity: Vectors) -> list[set[int]]:
    """Return the ten most similar others of each row."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    top = np.argpartition(-others, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return [set(row.tolist()) for row in top]
