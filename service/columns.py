"""Columns: the rows of the catalogue as arrays, appended to and never changed afterwards."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer says of an article besides numbers."""

    id: str
    version: int
    title: str
    topic: str
    source: str
    language: str


@dataclass(frozen=True, slots=True)
class Times:
    """When an article may be shown, in epoch seconds.

    `published` is the time first seen where the article states none (`is_unknown`); then it earns
    no freshness. Without an embargo that bound is minus infinity, without an expiry plus infinity.
    """

    published: float
    is_unknown: bool
    embargo: float
    expires: float


@dataclass(frozen=True, slots=True)
class Codes:
    """Names as small integers, so that a filter is one vectorised look-up."""

    values: NDArray[np.int32]
    names: dict[str, int] = field(default_factory=dict)

    def write(self, n: int, name: str) -> None:
        """Set row n; a name seen first gets the next code."""
        self.values[n] = self.names.setdefault(name, len(self.names))

    def among(self, names: frozenset[str], count: int) -> Mask:
        """Say which of the first `count` rows bear one of the names."""
        wanted = [self.names[name] for name in names if name in self.names]
        return np.isin(self.values[:count], wanted)


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows as arrays; rows beyond a snapshot's count belong to later snapshots."""

    vectors: Vectors  # (N, D)
    published: NDArray[np.float64]  # (N,)
    embargo: NDArray[np.float64]  # (N,)
    expires: NDArray[np.float64]  # (N,)
    time_unknown: Mask  # (N,)
    topics: Codes
    sources: Codes
    languages: Codes
    facts: list[Facts]

    @classmethod
    def empty(cls, capacity: int, dim: int) -> "Columns":
        """Allocate room for `capacity` rows."""
        return cls(
            vectors=np.empty((capacity, dim), np.float32),
            published=np.empty(capacity),
            embargo=np.empty(capacity),
            expires=np.empty(capacity),
            time_unknown=np.empty(capacity, bool),
            topics=Codes(np.empty(capacity, np.int32)),
            sources=Codes(np.empty(capacity, np.int32)),
            languages=Codes(np.empty(capacity, np.int32)),
            facts=[],
        )

    @property
    def room(self) -> int:
        """Return how many more rows fit."""
        return len(self.vectors) - len(self.facts)

    def append(self, facts: Facts, times: Times, vector: NDArray[np.float32]) -> int:
        """Write the next row and return its number; the caller sees to the room."""
        n = len(self.facts)
        self.vectors[n] = vector
        self.published[n] = times.published
        self.embargo[n] = times.embargo
        self.expires[n] = times.expires
        self.time_unknown[n] = times.is_unknown
        self.topics.write(n, facts.topic)
        self.sources.write(n, facts.source)
        self.languages.write(n, facts.language)
        self.facts.append(facts)
        return n

    def taken(self, rows: NDArray[np.intp], room: int) -> "Columns":
        """Copy the given rows into new columns with room for more."""
        columns = Columns.empty(len(rows) + room, self.vectors.shape[1])
        pairs = (
            (columns.vectors, self.vectors),
            (columns.published, self.published),
            (columns.embargo, self.embargo),
            (columns.expires, self.expires),
            (columns.time_unknown, self.time_unknown),
            (columns.topics.values, self.topics.values),
            (columns.sources.values, self.sources.values),
            (columns.languages.values, self.languages.values),
        )
        for target, source in pairs:
            np.take(source, rows, axis=0, out=target[: len(rows)])
        for codes, old in (
            (columns.topics, self.topics),
            (columns.sources, self.sources),
            (columns.languages, self.languages),
        ):
            codes.names.update(old.names)
        columns.facts.extend(self.facts[row] for row in rows)
        return columns
