"""Popularity: imported counts and clicks of feedback as one log-weight for each article.

Log-weights are against a fixed time, so that neither they nor their order change as time goes on;
`cooling` is what all of them have lost by now.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import exp, inf, log, log1p
from typing import Final

from service.decay import Decay
from service.ports import Clicks, Popularity, PopularityTable, Position, Span

# Below every revision: the first read gives a table also where the store has none.
NO_REVISION: Final = -1


@dataclass(frozen=True, slots=True)
class PopularityUpdate:
    """Log-weights by article id, all of them or those that changed, and what to subtract now."""

    weights: Mapping[str, float]
    cooling: float = 0.0
    is_whole: bool = True


class PopularityReader:
    """Reads from the store what has changed, and adds it up.

    Without any feedback time stands still at the import: an import alone never cools.
    """

    def __init__(self, decay: Decay) -> None:
        self._decay = decay
        self._imported = PopularityTable(0, {})
        self._spans: dict[Span, dict[str, float]] = {}
        self._mark: Position = ()
        self._zero_at = 0.0
        self.revision = NO_REVISION

    def read(self, store: Popularity, now: float) -> PopularityUpdate | None:
        """Return what has changed, None where nothing has; it blocks, and may raise StoreError."""
        table = store.popularity(self.revision)
        clicks = store.clicks(self._decay.live(now), self._mark)
        if table is not None:
            self._imported, self.revision = table, table.revision
        changed = self._take(clicks)
        if table is not None or clicks.is_whole:
            self._zero_at = self._as_of(now)
            return PopularityUpdate(dict(self._log_weights(self._all())), 0.0)
        if not self._is_fed():
            return None
        return PopularityUpdate(
            dict(self._log_weights(changed)),
            self._decay.log_weight(now, self._zero_at),
            is_whole=False,
        )

    def forget(self) -> None:
        """Read everything anew the next time: the store is not what it was."""
        self._mark, self.revision = (), NO_REVISION

    def _take(self, clicks: Clicks) -> set[str]:
        self._mark = clicks.mark
        if clicks.is_whole:
            self._spans = {}
        for span, sums in clicks.sums.items():
            self._spans.setdefault(span, {}).update(sums)
        return {article_id for sums in clicks.sums.values() for article_id in sums}

    def _is_fed(self) -> bool:
        return any(self._spans.values())

    def _as_of(self, now: float) -> float:
        return now if self._is_fed() else self._imported.at

    def _all(self) -> set[str]:
        return set(self._imported.weights).union(*self._spans.values())

    def _log_weights(self, ids: Iterable[str]) -> Iterator[tuple[str, float]]:
        decay, zero_at = self._decay, self._zero_at
        imported = decay.log_weight(self._imported.at, zero_at)
        starts = {span: decay.log_weight(decay.start(span), zero_at) for span in self._spans}
        for article_id in ids:
            total = self._imported.weights.get(article_id, -inf) + imported
            for span, sums in self._spans.items():
                if weight := sums.get(article_id, 0.0):
                    total = _sum(total, log(weight) + starts[span])
            yield article_id, total


def _sum(one: float, other: float) -> float:
    """Return the logarithm of a sum from those of its parts; NumPy's is slow for two numbers."""
    high, low = max(one, other), min(one, other)
    return high + log1p(exp(low - high))
