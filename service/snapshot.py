"""One immutable view of the catalogue, which a request pins from its start to its end.

Rows are appended to arrays with spare capacity and never changed afterwards. A snapshot sees the
first `count` of them through its own mask, so the next snapshot shares the memory of the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.columns import Columns
from service.criteria import Criteria
from service.id_table import ABSENT, IdTable
from service.ports import Activation, VectorIndex


class Liveness:
    """Remembers which rows are live, for as long as that cannot change."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # One tuple, replaced whole: two threads at worst work the same out twice.
        self._known: tuple[Mask, float, float] | None = None

    def at(self, now: float, snapshot: "Snapshot") -> Mask:
        """Return the rows live at a time: (count,), to be read only."""
        known = self._known
        if known is None or not known[1] <= now < known[2]:
            self._known = known = _live_around(now, snapshot)
        return known[0]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalogue at one moment, in one namespace; nothing in it ever changes.

    `base` and `recent` map ids to rows; `recent` holds what changed since `base` was made and wins
    (ABSENT: taken down). `popularity` holds log-weights of clicks, minus infinity where there were
    none; by now all of them have lost `cooling`.
    """

    activation: Activation
    columns: Columns
    count: int
    is_current: Mask  # (count,)
    base: IdTable
    recent: Mapping[str, int]
    popularity: NDArray[np.float64]  # (count,)
    cooling: float = 0.0
    index: VectorIndex | None = None  # over the first rows; those beyond it are the tail
    # Never handed on: whatever is replaced in a snapshot, the next one works it out anew.
    _liveness: Liveness = field(init=False, repr=False, compare=False, default_factory=Liveness)

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
        return found if found is not None else int(self.base.rows([article_id])[0])

    def rows(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Return the rows of those ids that are known, in order: (known,)."""
        rows = self.look_up(ids)
        return np.asarray(rows[rows != ABSENT])

    def look_up(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Return each id's row, ABSENT where it is unknown or taken down: (ids,)."""
        rows, recent = self.base.rows(ids), self.recent
        if not recent.keys().isdisjoint(ids):
            for n, article_id in enumerate(ids):
                if article_id in recent:
                    rows[n] = recent[article_id]
        return rows

    def history_rows(self, ids: Sequence[str], now: float, ttl_s: float) -> NDArray[np.intp]:
        """Return the rows of those ids that still count in histories at a time, in order: (H,)."""
        return self.still_read(self.look_up(ids), now, ttl_s)

    def still_read(self, rows: NDArray[np.intp], now: float, ttl_s: float) -> NDArray[np.intp]:
        """Return those rows that still count in histories at a time, in order, ABSENT never: (H,).

        An article counts until `ttl_s` seconds after its expiry.
        """
        rows = rows[rows != ABSENT]
        return np.asarray(rows[self.columns.expires.take(rows) + ttl_s > now])

    def shown(self, rows: NDArray[np.intp], now: float) -> Mask:
        """Say which of some rows may be shown at a time, ABSENT among them never: (rows,)."""
        if not self.count:
            return np.zeros(len(rows), bool)
        # Of ABSENT the last row's answer is taken, and not given.
        return np.asarray(self._liveness.at(now, self).take(rows) & (rows != ABSENT))

    def live(self, now: float) -> Mask:
        """Say which rows may be shown at a time: current, not embargoed, not expired.

        The mask is the caller's own. It is worked out again only past an embargo or an expiry.
        """
        return self._liveness.at(now, self).copy()

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


def _live_around(now: float, snapshot: Snapshot) -> tuple[Mask, float, float]:
    """Return the live rows with the time from which and before which they are just these."""
    embargo = snapshot.columns.embargo[: snapshot.count]
    expires = snapshot.columns.expires[: snapshot.count]
    mask = snapshot.is_current & (embargo <= now) & (now < expires)
    turns = np.concatenate([embargo, expires])
    begun = turns <= now
    return mask, turns[begun].max(initial=-np.inf), turns[~begun].min(initial=np.inf)
