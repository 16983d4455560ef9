"""Article numbers of ids that are still bytes of a file: a hash table searched by NumPy alone."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Numbers: TypeAlias = NDArray[np.int32]
Places: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

UNKNOWN = -1
WORD = 8  # bytes compared at once
LONGEST = 8  # words of the longest id that an article may have
# A quarter full at most: hardly an id is not where it is looked for first.
SLOTS_PER_ID = 4
# Odd powers of the golden ratio's fraction spread ids over the upper bits (Knuth, vol. 3, 6.4).
FACTORS = np.array([pow(0x9E3779B97F4A7C15, 2 * k + 1, 2**64) for k in range(LONGEST)], "u8")
# The bytes of a word that belong to an id of which 0 … 8 bytes are left.
MASKS = np.array([2 ** (8 * left) - 1 for left in range(WORD + 1)], "u8")


class ArticleNumbers:
    """Map ids to their positions in `news.tsv`; ids are at most 64 bytes and hold no NUL."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._words = -(-max(map(len, ids), default=1) // WORD)
        packed = np.array([i.encode() for i in ids], f"S{WORD * self._words}").view("<u8")
        free = np.zeros((1, self._words), np.uint64)  # what UNKNOWN, the last row, compares to
        self._keys: Words = np.vstack([packed.reshape(-1, self._words), free]).T.copy()
        bits = (SLOTS_PER_ID * len(ids) + 1).bit_length()
        self._shift, self._last = np.uint64(64 - bits), 2**bits - 1
        self._slots: Numbers = np.full(2**bits, UNKNOWN, np.int32)
        self._fill(len(ids))

    @property
    def reach(self) -> int:
        """How many bytes behind an id `find` may look at."""
        return WORD * self._words

    def find(self, text: Bytes, starts: Places, lengths: Places) -> Numbers:
        """Return the numbers of the ids at some places of a text, UNKNOWN for other ids: (T,)."""
        words = self._cut(text, starts, lengths)  # (W, T)
        slots = self._home(words)
        found = self._slots[slots]
        lost = np.flatnonzero(self._other(found, words))
        while lost.size:
            slots[lost] = (slots[lost] + 1) & self._last
            found[lost] = self._slots[slots[lost]]
            lost = lost[self._other(found[lost], words[:, lost])]
        found[lengths > self.reach] = UNKNOWN
        return found

    def _cut(self, text: Bytes, starts: Places, lengths: Places) -> Words:
        # A word at every byte: reading across word borders costs less than to shift and join.
        at = np.ndarray((len(text) - WORD + 1,), "<u8", text, strides=(1,))
        offsets = range(0, self.reach, WORD)
        left = (np.clip(lengths - offset, 0, WORD) for offset in offsets)
        words = [at[starts + o] & MASKS[n] for o, n in zip(offsets, left, strict=True)]
        return np.stack(words)

    def _home(self, words: Words) -> Places:
        spread = words * FACTORS[: self._words, None]
        slots: Places = (spread.sum(axis=0, dtype=np.uint64) >> self._shift).astype(np.int64)
        return slots

    def _other(self, found: Numbers, words: Words) -> NDArray[np.bool_]:
        # One word is the usual case, and quicker without an axis of its own.
        keys = self._keys[0][found] if len(words) == 1 else self._keys[:, found]
        differs = (keys != words).any(axis=0) if keys.ndim > 1 else keys != words[0]
        return np.asarray(differs & (found != UNKNOWN))

    def _fill(self, count: int) -> None:
        waiting = np.arange(count, dtype=np.int32)
        slots = self._home(self._keys[:, :count])
        while waiting.size:
            free = self._slots[slots] == UNKNOWN
            self._slots[slots[free]] = waiting[free]  # of several for one slot the last stays
            outside = self._slots[slots] != waiting
            waiting, slots = waiting[outside], (slots[outside] + 1) & self._last
