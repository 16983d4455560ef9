"""Invariance: whether a text's vector depends on the batch that it is encoded in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contract.article import Vectors
from contract.encoder import open_session
from contract.tokens import pad
from contract.vectors import cosine

BATCH_SIZES = (7, 32)
TokenIds = Sequence[Sequence[int]]  # one row for each text


def batch_cosine(graph: bytes, rows: TokenIds, *, pad_id: int, max_tokens: int) -> float:
    """Return the least cosine of a text's vector alone with its vector in batches of any kind.

    `rows` are token ids. Each text is encoded alone, among its neighbours, among strangers, and
    padded to the longest text that the graph takes.
    """
    session = open_session(graph)

    def encode(order: Sequence[int], *, size: int, length: int = 0) -> Vectors:
        parts = []
        for start in range(0, len(order), size):
            batch = [rows[i] for i in order[start : start + size]]
            # An empty row's worth of padding beside them: `pad` fills up to the longest.
            tokens = pad([*batch, [pad_id] * length], pad_id)
            feeds = {"ids": tokens.ids[: len(batch)], "mask": tokens.mask[: len(batch)]}
            parts.append(session.run(["vector"], feeds)[0])
        return np.concatenate(parts)[np.argsort(order)]

    neighbours = list(range(len(rows)))
    strangers = [int(i) for i in np.random.default_rng(0).permutation(len(rows))]
    alone = encode(neighbours, size=1)
    others = [encode(neighbours, size=1, length=max_tokens)]
    for size in BATCH_SIZES:
        others += [
            encode(order, size=size, length=length)
            for order in (neighbours, strangers)
            for length in (0, max_tokens)
        ]
    # NumPy's minimum keeps a NaN, Python's may drop it.
    return float(np.min([cosine(alone, other) for other in others]))
