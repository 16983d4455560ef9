"""What the use cases need from the outside, as Protocols named after the need."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.article import Article, Vectors

Position: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """One article to write, with the vector of its text in the namespace of the call."""

    article: Article
    fingerprint: str
    vector: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class StoredArticle:
    """One article as the store holds it.

    `article` is None once it was taken down; `version` grows with each write of this id and
    survives a take-down; `first_seen` is in epoch seconds; `vector` is None when the store holds
    no sound vector of the asked namespace for this very text (absent, damaged, or made from an
    earlier text).
    """

    id: str
    version: int
    article: Article | None
    fingerprint: str
    first_seen: float
    vector: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids written since a position, oldest first, and the position to ask from next.

    `is_complete` is False when the log no longer reaches back that far: the caller must scan again.
    """

    ids: tuple[str, ...]
    position: Position
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Activation:
    """Which model serves: the record with the highest generation is active."""

    generation: int
    model: str
    namespace: str


@dataclass(frozen=True, slots=True)
class PopularityTable:
    """Imported log-weights of clicks per article id; `revision` grows with each import.

    `at` is when they were imported, in epoch seconds.
    """

    revision: int
    weights: Mapping[str, float]
    at: float = 0.0


class Span(NamedTuple):
    """A stretch of time whose clicks are summed; from `ends_at` on they weigh nothing any more."""

    name: str
    ends_at: float


# Weights of clicks by span and article id.
Weights: TypeAlias = Mapping[Span, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Clicks:
    """Sums of clicks' weights as they now are, of the articles clicked since a mark.

    `is_whole` says that these are all there are: the mark told nothing, or too little.
    """

    sums: Weights
    mark: Position
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a group of readers' records becomes, and the clicks that this counts.

    `records` are those to write, by pseudonym; `outcomes` are for the caller alone.
    """

    records: Mapping[str, bytes]
    clicks: Weights
    outcomes: Mapping[int, str]


# From the records of some readers, None where there is none yet.
Amend: TypeAlias = Callable[[Mapping[str, bytes | None]], Amendment]


class Articles(Protocol):
    """Articles and their vectors, durable before a write returns."""

    def publish(
        self, publications: Sequence[Publication], *, namespace: str, now: float
    ) -> list[int]:
        """Write each article with its vector atomically; return its new version, in order."""
        ...

    def take_down(self, article_id: str) -> int | None:
        """Remove an article and all its vectors; return the new version, None if unknown."""
        ...

    def fetch(self, ids: Sequence[str], *, namespace: str) -> dict[str, StoredArticle]:
        """Read articles by id, those taken down included; unknown ids are absent."""
        ...

    def scan(self, *, namespace: str) -> Iterator[list[StoredArticle]]:
        """Read every article that is not taken down, in batches, in no set order."""
        ...

    def fill(
        self, vectors: Mapping[str, tuple[str, NDArray[np.float32]]], *, namespace: str
    ) -> None:
        """Add vectors to articles already there: id -> (fingerprint of the text, vector)."""
        ...


class ChangeLog(Protocol):
    """Notifications that articles changed, in order per article."""

    def position(self) -> Position:
        """Return the end of the log as of now; take it before a scan."""
        ...

    def changes(self, since: Position) -> Changes:
        """Return what was written since, at most a few thousand ids; never blocks for news."""
        ...


class Popularity(Protocol):
    """How much each article was clicked, independent of the articles themselves."""

    def replace_popularity(self, weights: Mapping[str, float], *, at: float) -> int:
        """Replace all imported log-weights, as of a time; return the new revision."""
        ...

    def popularity(self, since: int) -> PopularityTable | None:
        """Return the table when its revision is beyond `since`, else None; revision 0 is empty."""
        ...

    def clicks(self, spans: Sequence[Span], since: Position) -> Clicks:
        """Return the sums of some spans that changed since a mark; () before the first.

        A mark is of these spans: of others they are all told.
        """
        ...


class Readers(Protocol):
    """What is kept of readers, one record each, under pseudonyms that tell nothing of them."""

    def amend(
        self, pseudonyms: Sequence[str], amend: Amend, *, expires_at: float, now: float
    ) -> list[Amendment]:
        """Write what `amend` makes of readers' records, with the clicks that it counts.

        Readers are amended in groups, each wholly or not at all; `amend` is asked once for each
        group, and again when another process was faster, so it changes nothing else. Return the
        amendments that were made. When it raises, some groups may be amended and others not.
        A record may be let go of from `expires_at` on, in epoch seconds.
        """
        ...

    def reader(self, pseudonym: str) -> bytes | None:
        """Return a reader's record, None where there is none."""
        ...

    def forget(self, pseudonym: str) -> bool:
        """Remove a reader's record for good; say whether there was one."""
        ...

    def readers(self) -> Iterator[Mapping[str, bytes]]:
        """Read all records by pseudonym, in batches, in no set order."""
        ...

    def let_go(self, now: float) -> None:
        """Remove records and sums whose time is over, and finish what `forget` could not."""
        ...


class Models(Protocol):
    """Which bundle is active; a flip is compare-and-set on the generation."""

    def activate(self, *, model: str, namespace: str) -> Activation:
        """Make a model active; the one already active keeps its generation."""
        ...

    def active(self) -> Activation | None:
        """Return the active record, None before the first activation."""
        ...


class Secrets(Protocol):
    """Random keys that all processes of one store share."""

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes, made by whoever asks first and the same for everybody after."""
        ...


class Store(Articles, ChangeLog, Popularity, Readers, Models, Secrets, Protocol):
    """The shared, durable tier as one adapter gives it; every method may raise StoreError.

    Methods block and are safe to call from several threads; use cases run them in an executor.
    """

    def ping(self) -> None:
        """Return when the store answers."""
        ...

    def close(self) -> None:
        """Release files and connections; the store is not used after."""
        ...


class TextEncoder(Protocol):
    """Texts to vectors of one namespace (the bundle encoder behind the interface of need)."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        ...

    def users(self, history: Vectors, mask: NDArray[np.bool_]) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D)."""
        ...

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Classify texts that must not hold their own topic: (N,) -> (N, topics)."""
        ...

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens of each text are encoded."""
        ...


class RowSearch(Protocol):
    """Exact top-k by inner product over the rows that a mask leaves."""

    def top(
        self, query: NDArray[np.float32], rows: Vectors, eligible: NDArray[np.bool_], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return row numbers and inner products, best first, at most k and only eligible ones."""
        ...


class VectorIndex(Protocol):
    """Approximate top-k by inner product over the rows 0 to size - 1 of one matrix; immutable."""

    @property
    def size(self) -> int:
        """Return the number of rows that it covers."""
        ...

    def top(
        self,
        query: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        k: int,
        *,
        survivors: int,
    ) -> NDArray[np.int64]:
        """Return at most k row numbers, best first, of those (size,) that the mask leaves.

        `survivors` is how many it leaves: the fewer, the more of the index is looked at.
        """
        ...


class IndexBuilder(Protocol):
    """Builds vector indexes, away from the event loop."""

    def build(self, vectors: Vectors, like: VectorIndex | None) -> VectorIndex | None:
        """Index the rows (N, D), None where exact search is faster; `like` lends its training."""
        ...


class WordIndex(Protocol):
    """BM25 over the rows 0 to size - 1, and over rows that came since; immutable."""

    @property
    def size(self) -> int:
        """Return the number of rows that it covers."""
        ...

    def scores(self, words: NDArray[np.int32], tail: Sequence[bytes]) -> NDArray[np.float32]:
        """Return every row's score for the word codes of a query: (size + tail,).

        The tail's rows are given by their word codes, as int32 bytes, and follow the others.
        """
        ...

    def taken(self, rows: NDArray[np.intp]) -> "WordIndex":
        """Return the index over some of its rows, in that order."""
        ...


class WordIndexBuilder(Protocol):
    """Builds word indexes, away from the event loop."""

    def build(self, terms: Sequence[bytes], vocabulary: int) -> WordIndex:
        """Index rows of word codes, as int32 bytes, each code below `vocabulary`."""
        ...


class Clock(Protocol):
    """Wall time in epoch seconds; deadlines use the monotonic clock instead."""

    def __call__(self) -> float:
        """Return now."""
        ...
