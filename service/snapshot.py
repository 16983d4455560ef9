"""One immutable view of the catalogue, which a request pins from its start to its end.

Rows are appended to arrays with spare capacity and never changed afterwards. A snapshot sees the
first `count` of them through its own mask, so the next snapshot shares the memory of the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contract.article import Mask, Vectors
from service.ports import Activation

ABSENT = -1


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
class Criteria:
    """Hard filters; an empty set admits everything. `published_after` is in epoch seconds."""

    topics: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    published_after: float | None = None


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
