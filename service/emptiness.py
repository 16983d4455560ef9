"""Emptiness: why an answer has no articles."""

from service.answer import Empty
from service.criteria import Criteria
from service.paging import Position
from service.snapshot import Snapshot


def why_empty(
    snapshot: Snapshot,
    criteria: Criteria,
    now: float,
    position: Position | None,
    otherwise: Empty = Empty.EXCLUDED,
) -> Empty:
    """Return the first cause that applies: the walk's end, no live article, the hard filters.

    `otherwise` is what kept the articles out that pass all of these.
    """
    if position is not None:
        return Empty.END
    if not snapshot.live(now).any():
        return Empty.CATALOGUE
    return otherwise if snapshot.eligible(criteria, now).any() else Empty.FILTER
