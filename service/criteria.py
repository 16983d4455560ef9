"""Criteria: the hard filters of a request."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self


@dataclass(frozen=True, slots=True)
class Criteria:
    """Hard filters; an empty set admits everything. `published_after` is in epoch seconds."""

    topics: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    published_after: float | None = None

    @classmethod
    def of(
        cls,
        topics: Iterable[str],
        sources: Iterable[str],
        languages: Iterable[str],
        published_after: datetime | None,
    ) -> Self:
        """Take the filters as a request tells them."""
        after = published_after.timestamp() if published_after is not None else None
        return cls(frozenset(topics), frozenset(sources), frozenset(languages), after)


ANY = Criteria()
