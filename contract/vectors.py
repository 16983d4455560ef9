"""Vectors: how near two sets of them are."""

import numpy as np

from contract.article import Vectors


def cosine(a: Vectors, b: Vectors) -> Vectors:
    """Return the cosine of each row with its counterpart: (N, D), (N, D) -> (N,).

    It is NaN where one of them is zero, which no bound lets pass.
    """
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.asarray((a * b).sum(axis=1) / lengths)
