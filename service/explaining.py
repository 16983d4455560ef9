"""Explain a score exactly: what each article of the history and each term put into it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from contract.scoring import ClickModel, attention_weights

READ: Final = 3


class Read(TypedDict):
    """An article of the history, and what the score owes to it."""

    id: str
    weight: float


class Reasons(TypedDict):
    """Why an article has its score: the history's main articles, and parts that sum to it."""

    history: list[Read]
    parts: dict[str, float]


def reasons(
    model: ClickModel,
    products: NDArray[np.floating],
    *,
    history: Sequence[str],
    shares: NDArray[np.floating],
    terms: Mapping[str, float],
) -> Reasons:
    """Split an article's score into its parts, and name the three read articles with most of it.

    `products` (H + 2,) are those that `ClickModel.combine` takes, `shares` (H,) the weights of the
    history in the user vector, `terms` whatever else was added to the score. As the user vector is
    a mean of the history, so is u . v: an article read earns
    s (share_j + lambda w_j) h_j . v, which is no guess but a summand.
    """
    match, content = products[:-2].astype(np.float64), float(products[-1])  # (H,)
    by_user = model.scale * shares * match
    by_attention = model.scale * model.attention * _attention(match, model.temperature) * match
    earned: defaultdict[str, float] = defaultdict(float)
    for article_id, part in zip(history, (by_user + by_attention).tolist(), strict=True):
        earned[article_id] += part
    most = sorted(earned, key=lambda i: (-earned[i], i))[:READ]
    parts = {
        "user": float(by_user.sum()),
        "attention": float(by_attention.sum()),
        "content": content,
    }
    return {
        "history": [{"id": i, "weight": earned[i]} for i in most],
        # A zero has no sign: -0.0 would read as if something had been taken.
        "parts": {name: part + 0.0 for name, part in {**parts, **terms}.items()},
    }


def _attention(match: NDArray[np.float64], temperature: float) -> NDArray[np.floating]:
    return attention_weights(match[:, None], temperature)[:, 0] if len(match) else match
