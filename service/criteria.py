"""Criteria: the hard filters of a request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Criteria:
    """Hard filters; an empty set admits everything. `published_after` is in epoch seconds."""

    topics: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    published_after: float | None = None


ANY = Criteria()
