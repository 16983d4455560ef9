"""BM25 by bm25s, and the same formula once more for the rows that came since it was built.

bm25s indexes a frozen list of texts. Later rows, the tail, are scored as they stand, with the
index's document frequencies and mean length; without an index the tail brings its own. So an
article is found at once, and a tail scores as the index would (Lucene's variant: Kamphuis et al.,
ECIR 2020).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import bm25s

K1, B = 1.5, 0.75
CODE_BYTES = np.dtype(np.int32).itemsize

Codes = NDArray[np.int32]
Scores = NDArray[np.float32]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Tail:
    """The words of some rows, one row after the other."""

    codes: Codes  # (W,)
    lengths: NDArray[np.int64]  # (T,)

    @classmethod
    def of(cls, terms: Sequence[bytes]) -> "Tail":
        """Join the rows' word codes."""
        lengths = np.fromiter(map(len, terms), np.int64, len(terms)) // CODE_BYTES
        return cls(np.frombuffer(b"".join(terms), np.int32), lengths)

    @property
    def mean_length(self) -> float:
        """Return the mean number of words of a row."""
        return len(self.codes) / max(1, len(self.lengths))

    def found(self, words: Codes) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
        """Yield for each of some distinct words the rows that have it, and how often each does.

        The rows are gone through once, however many words there are.
        """
        places = np.full(words.max(initial=-1) + 2, -1, np.int16)
        places[words] = np.arange(len(words))
        # Codes beyond the words' own come to lie on the last place, which is no word's.
        of_each = places.take(self.codes, mode="clip")  # (W,)
        at = np.flatnonzero(of_each >= 0)
        rows = np.searchsorted(np.cumsum(self.lengths), at, side="right")
        # One number for a word in a row, so that equal ones are the same word in the same row.
        count = len(self.lengths)
        hits, times = np.unique(of_each[at] * np.int64(count) + rows, return_counts=True)
        ends = np.searchsorted(hits, np.arange(len(words) + 1) * count)
        for start, end in pairwise(ends.tolist()):
            yield hits[start:end] % count, times[start:end]


@dataclass(frozen=True, slots=True)
class Indexed:
    """What bm25s made of the rows that it was given, and the numbers that its scores rest on."""

    index: "bm25s.BM25"
    frequencies: NDArray[np.int64]  # (V,)
    rows: int
    mean_length: float

    @classmethod
    def of(cls, terms: Sequence[bytes], vocabulary: int) -> "Indexed":
        """Index rows of word codes; there must be a word among them."""
        # Not at start: it takes as long as a tenth of all else that is done then.
        import bm25s

        index = bm25s.BM25(k1=K1, b=B, method="lucene")
        # Views of the bytes read as lists of integers, and need no object per word.
        rows = [memoryview(one).cast("i") for one in terms]
        names = dict(zip(range(vocabulary), range(vocabulary), strict=True))
        index.index((rows, names), create_empty_token=False, show_progress=False)
        # Words are asked for by their codes: the names would be held twice for nothing.
        index.vocab_dict, index.unique_token_ids_set = {}, set()
        mean = sum(map(len, rows)) / len(rows)
        return cls(index, np.diff(index.scores["indptr"]), len(rows), mean)

    def frequency(self, word: int) -> int:
        """Return how many indexed rows have a word."""
        return int(self.frequencies[word]) if word < len(self.frequencies) else 0

    def scores(self, words: Codes) -> Scores:
        """Return every indexed row's score: (rows,)."""
        known = words[words < len(self.frequencies)]
        return np.asarray(self.index.get_scores_from_ids(known), np.float32)


@dataclass(frozen=True, slots=True)
class Bm25Words:
    """A `WordIndex`; `kept` are those of the indexed rows that still have a place, in order."""

    indexed: Indexed | None = None
    kept: Rows | None = None

    @property
    def size(self) -> int:
        """Return the number of rows that it covers."""
        if self.kept is not None:
            return len(self.kept)
        return self.indexed.rows if self.indexed else 0

    def scores(self, words: Codes, tail: Sequence[bytes]) -> Scores:
        """Return the scores of its rows and of the tail: (size + tail,)."""
        late = Tail.of(tail)
        scores = np.zeros(self.size + len(tail), np.float32)
        # A word said twice counts twice, and is looked for once.
        distinct, said = np.unique(words, return_counts=True)
        for times in np.unique(said):
            scores += np.float32(times) * self._scores(distinct[said == times], late)
        return scores

    def taken(self, rows: Rows) -> "Bm25Words":
        """Return the index over some of its rows, in that order, which are all it covers then."""
        return Bm25Words(self.indexed, rows if self.kept is None else self.kept[rows])

    def _scores(self, words: Codes, tail: Tail) -> Scores:
        late = tail_scores(words, tail, self.indexed)
        if self.indexed is None:
            return late
        early = self.indexed.scores(words)
        return np.concatenate([early if self.kept is None else early[self.kept], late])


class Bm25Builder:
    """Builds word indexes with bm25s."""

    def build(self, terms: Sequence[bytes], vocabulary: int) -> Bm25Words:
        """Index rows of word codes, each code below `vocabulary`; some seconds for many rows."""
        # Without a word there is no mean length to score by.
        return Bm25Words(Indexed.of(terms, vocabulary) if any(terms) else None)


def tail_scores(words: Codes, tail: Tail, indexed: Indexed | None) -> Scores:
    """Score rows that no index holds by distinct words: (T,)."""
    mean_length = indexed.mean_length if indexed else tail.mean_length
    norms = K1 * (1 - B + B * tail.lengths / (mean_length or 1.0))  # (T,)
    scores = np.zeros(len(norms), np.float32)
    if not len(norms):
        return scores
    count = indexed.rows if indexed else len(norms)
    for word, (rows, times) in zip(words.tolist(), tail.found(words), strict=True):
        frequency = indexed.frequency(word) if indexed else len(rows)
        # In the precisions of bm25s, so that two copies of a text tie wherever they stand.
        rarity = np.float32(np.log(1 + (count - frequency + 0.5) / (frequency + 0.5)))
        scores[rows] += (rarity * (times / (norms[rows] + times))).astype(np.float32)
    return scores
