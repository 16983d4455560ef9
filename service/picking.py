"""Picking: the rows chosen for a page become the articles of an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.answer import Picked, ids_of
from service.columns import Columns
from service.diversify import Chosen

Why: TypeAlias = Callable[[Chosen], Mapping[str, object]]


def picked(
    columns: Columns,
    rows: NDArray[np.intp],
    scores: NDArray[np.float64],
    chosen: Sequence[Chosen],
    *,
    before: int,
    why: Why | None = None,
) -> list[Picked]:
    """Return the chosen of some rows with their scores, less what each lost to others.

    `before` articles were on the pages before this one; `why` gives an article's reasons.
    """
    return [
        Picked.of(
            columns,
            int(rows[one.place]),
            score=float(scores[one.place]) - one.penalty,
            rank=rank,
            also=ids_of(columns, rows[list(one.also)]) if one.also else (),
            reasons=why(one) if why is not None else None,
            drawn=one.drawn,
        )
        for rank, one in enumerate(chosen, before + 1)
    ]
