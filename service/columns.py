"""Columns: the rows of the catalogue as arrays, appended to and never changed afterwards."""

import sys
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from contract.article import Article, Mask, Vectors

OTHER: Final = 0xFFFF
# Up to so many names, comparing the codes with each is faster than looking every code up.
COMPARED: Final = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer says of an article besides numbers."""

    id: str
    version: int
    title: str
    topic: str
    subtopic: str
    source: str
    language: str
    url: str

    @classmethod
    def of(cls, article: Article, version: int) -> Self:
        """Take from an article what answers say."""
        return cls(
            id=article.id,
            version=version,
            title=article.title,
            # Few names are shared by many articles: interned, each is held once.
            topic=sys.intern(article.topic),
            subtopic=sys.intern(article.subtopic),
            source=sys.intern(article.source),
            language=sys.intern(article.language),
            url=article.url,
        )


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

    @classmethod
    def of(cls, article: Article, first_seen: float) -> Self:
        """Take the times of an article first seen then."""
        published = article.published_at
        return cls(
            published=published.timestamp() if published else first_seen,
            is_unknown=published is None,
            embargo=article.embargo_until.timestamp() if article.embargo_until else -np.inf,
            expires=article.expires_at.timestamp() if article.expires_at else np.inf,
        )


@dataclass(frozen=True, slots=True)
class Codes:
    """Names as small integers, so that a filter is a comparison of whole columns.

    The first 65,535 names have codes of their own; all others share OTHER, which no filter matches.
    """

    values: NDArray[np.uint16]
    names: dict[str, int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Say whether the next new name gets no code of its own."""
        return len(self.names) == OTHER

    def write(self, n: int, name: str) -> None:
        """Set row n; a name seen first gets the next code, OTHER when there is none left."""
        code = self.names.get(name, len(self.names))
        if code != OTHER:
            self.names[name] = code
        self.values[n] = code

    def among(self, names: frozenset[str], count: int) -> Mask:
        """Say which of the first `count` rows bear one of the names."""
        values = self.values[:count]
        wanted = [self.names[name] for name in names if name in self.names]
        if len(wanted) > COMPARED:
            is_wanted = np.zeros(OTHER + 1, bool)
            is_wanted[wanted] = True
            return is_wanted.take(values)
        mask = np.zeros(count, bool)
        for code in wanted:
            mask |= values == code
        return mask


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows as arrays; rows beyond a snapshot's count belong to later snapshots.

    `logits` holds what the user encoder's attention gives each article, before the softmax over a
    history; `append` leaves it zero, its writer fills it.
    """

    ids: NDArray[np.object_]  # (N,), str: an array of them is gathered faster than facts are
    vectors: Vectors  # (N, D)
    logits: NDArray[np.float32]  # (N,)
    published: NDArray[np.float64]  # (N,)
    embargo: NDArray[np.float64]  # (N,)
    expires: NDArray[np.float64]  # (N,)
    time_unknown: Mask  # (N,)
    topics: Codes
    sources: Codes
    languages: Codes
    facts: list[Facts]
    terms: list[bytes]  # word codes of each row, int32

    @classmethod
    def empty(cls, capacity: int, dim: int) -> Self:
        """Allocate room for `capacity` rows."""
        return cls(
            ids=np.empty(capacity, object),
            vectors=np.empty((capacity, dim), np.float32),
            logits=np.zeros(capacity, np.float32),
            published=np.empty(capacity),
            embargo=np.empty(capacity),
            expires=np.empty(capacity),
            time_unknown=np.empty(capacity, bool),
            topics=Codes(np.empty(capacity, np.uint16)),
            sources=Codes(np.empty(capacity, np.uint16)),
            languages=Codes(np.empty(capacity, np.uint16)),
            facts=[],
            terms=[],
        )

    @property
    def room(self) -> int:
        """Return how many more rows fit."""
        return len(self.vectors) - len(self.facts)

    def append(
        self, facts: Facts, times: Times, vector: NDArray[np.float32], terms: bytes = b""
    ) -> int:
        """Write the next row and return its number; the caller sees to the room."""
        n = self.describe(facts, terms)
        self.vectors[n] = vector
        self.published[n] = times.published
        self.embargo[n] = times.embargo
        self.expires[n] = times.expires
        self.time_unknown[n] = times.is_unknown
        return n

    def describe(self, facts: Facts, terms: bytes) -> int:
        """Add what is no number of the next row and return its number; `numbers` hold the rest."""
        n = len(self.facts)
        for codes, name in zip(self._codes(), _names(facts), strict=True):
            codes.write(n, name)
        self.ids[n] = facts.id
        self.terms.append(terms)
        self.facts.append(facts)
        return n

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Return by name the arrays that nothing else tells: (capacity, ...)."""
        return {
            "vectors": self.vectors,
            "logits": self.logits,
            "published": self.published,
            "embargo": self.embargo,
            "expires": self.expires,
            "time_unknown": self.time_unknown,
        }

    def cut(self, count: int) -> None:
        """Forget the rows from `count` on, which no snapshot has seen."""
        del self.facts[count:], self.terms[count:]

    def taken(self, rows: NDArray[np.intp], room: int) -> "Columns":
        """Copy the given rows into new columns with room for more."""
        columns = Columns.empty(len(rows) + room, self.vectors.shape[1])
        columns.facts.extend(self.facts[row] for row in rows)
        columns.terms.extend(self.terms[row] for row in rows)
        for target, source in zip(columns._arrays(), self._arrays(), strict=True):
            np.take(source, rows, axis=0, out=target[: len(rows)])
        for number, (codes, old) in enumerate(zip(columns._codes(), self._codes(), strict=True)):
            if old.is_full:
                # Names that no row bears any more give their codes to those that had none.
                for n, facts in enumerate(columns.facts):
                    codes.write(n, _names(facts)[number])
            else:
                codes.names.update(old.names)
        return columns

    def _codes(self) -> tuple[Codes, ...]:
        return self.topics, self.sources, self.languages

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.ids, *self.numbers().values(), *(codes.values for codes in self._codes())


def _names(facts: Facts) -> tuple[str, ...]:
    """Return the names that have codes, in the order of `Columns._codes`."""
    return facts.topic, facts.source, facts.language
