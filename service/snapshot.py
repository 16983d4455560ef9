"""One immutable view of the catalogue, which a request pins from its start to its end.

Rows are appended to arrays with spare capacity and never changed afterwards. A snapshot sees the
first `count` of them through its own mask, so the next snapshot shares the memory of the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.columns import Columns
from service.criteria import Criteria
from service.ports import Activation

ABSENT = -1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalogue at one moment, in one namespace; nothing in it ever changes.

    `base` and `recent` map ids to rows; `recent` holds what changed since `base` was made and wins
    (ABSENT: taken down). `popularity` holds log-weights, minus infinity where there were no clicks.
    """

    activation: Activation
    columns: Columns
    count: int
    is_current: Mask  # (count,)
    base: Mapping[str, int]
    recent: Mapping[str, int]
    popularity: NDArray[np.float64]  # (count,)

    @property
    def vectors(self) -> Vectors:
        """Return the rows' vectors: (count, D)."""
        return self.columns.vectors[: self.count]

    @property
    def size(self) -> int:
        """Return the number of articles, whatever their state."""
        return int(np.count_nonzero(self.is_current))

    def row(self, article_id: str) -> int:
        """Return an article's row, ABSENT if it is unknown or taken down."""
        found = self.recent.get(article_id)
        return found if found is not None else self.base.get(article_id, ABSENT)

    def rows(self, ids: Sequence[str]) -> list[int]:
        """Return the rows of those ids that are known, in order."""
        return [row for row in map(self.row, ids) if row != ABSENT]

    def is_live(self, row: int, now: float) -> bool:
        """Say whether an article may be shown at a time."""
        return bool(self.columns.embargo[row] <= now < self.columns.expires[row])

    def live(self, now: float) -> Mask:
        """Say which rows may be shown at a time: current, not embargoed, not expired."""
        n = self.count
        return np.asarray(
            self.is_current & (self.columns.embargo[:n] <= now) & (now < self.columns.expires[:n])
        )

    def eligible(self, criteria: Criteria, now: float) -> Mask:
        """Say which rows pass every hard filter at a time: (count,)."""
        mask = self.live(now)
        for codes, names in (
            (self.columns.topics, criteria.topics),
            (self.columns.sources, criteria.sources),
            (self.columns.languages, criteria.languages),
        ):
            if names:
                mask &= codes.among(names, self.count)
        if criteria.published_after is not None:
            mask &= ~self.columns.time_unknown[: self.count]
            mask &= self.columns.published[: self.count] > criteria.published_after
        return mask
