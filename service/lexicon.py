"""Lexicon: the words of texts as integers, append-only, so that codes in use never change."""

import re
from collections.abc import Sequence
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from contract.article import Article

# Words of two characters and more, without the stop words of Lucene's English analyser: what
# `bm25s.tokenize` does, so that this search and the lexical baseline find the same.
WORD = re.compile(r"(?u)\b\w\w+\b")
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be but by for if in into is it no not of on or such that the their
        then there these they this to was will with""",
    )
)
# Further words of a text do not count: they bound what an article and a query can cost.
MAX_WORDS = 128


def words(text: str) -> list[str]:
    """Return the words of a text in order, in lower case, at most `MAX_WORDS`."""
    # All of `contract.text.canonical` that words depend on, at a third of its cost.
    found = WORD.findall(normalize("NFC", text).lower())
    return [word for word in found if word not in STOP_WORDS][:MAX_WORDS]


class Lexicon:
    """Gives each word the next code when an article brings it; one thread adds, any may read."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of words known: every code is below it."""
        return len(self._codes)

    def known(self) -> list[str]:
        """Return the words in the order of their codes."""
        return list(self._codes)

    def restore(self, known: Sequence[str]) -> None:
        """Give words the codes that they had; raise ValueError when there are others already."""
        if self._codes:
            raise ValueError("words in use keep their codes")
        self._codes.update(zip(known, range(len(known)), strict=True))

    def terms(self, article: Article) -> bytes:
        """Return the codes of an article's words, title before abstract: int32, as bytes."""
        codes = self._codes
        found = words(f"{article.title} {article.abstract}")
        return np.array([codes.setdefault(w, len(codes)) for w in found], np.int32).tobytes()

    def codes(self, text: str) -> NDArray[np.int32]:
        """Return the codes of a text's words in order, repetitions included.

        Words that no article has are left out.
        """
        found = (self._codes.get(word) for word in words(text))
        return np.array([code for code in found if code is not None], np.int32)
