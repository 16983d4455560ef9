"""Id table: the rows of many ids at once, at the cost of one fetch from memory for each."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

ABSENT: Final = -1
# Hashes of a line: 64 bytes, which is what a processor fetches at once.
SLOTS: Final = 8
# Ids for which a line is made, at most: chance gives hardly any more than it has slots.
IDS_PER_LINE: Final = 3


class IdTable:
    """Knows the row of each id, which is its place among `ids`; of an id that comes twice the last.

    A dict goes from its index to an entry, a string and a number, for one id after the other; here
    the hashes of an id's line are compared with its own, for all ids at once.

    An id is told by its 64-bit hash alone. Ids of the table that share one are kept aside, told by
    themselves. An id that is not of the table has the hash of one that is with a chance of N in
    2^64, which is once in nine years where a million unknown ones a second are looked up among
    65,000; and none can be made up that has, for Python salts its hashes anew in each process,
    unless PYTHONHASHSEED tells it not to.
    """

    __slots__ = ("_aside", "_hashes", "_last", "_rows", "_size")

    def __init__(self, ids: Sequence[str]) -> None:
        self._size = len(ids)
        count = 1 << (self._size // IDS_PER_LINE).bit_length()
        self._last = np.int64(count - 1)
        self._hashes = np.zeros((count, SLOTS), np.int64)
        self._rows = np.full((count, SLOTS), ABSENT, np.int32)
        self._aside = {ids[row]: row for row in self._fill(_hashed(ids))}

    def __len__(self) -> int:
        """Return the number of ids it was made of."""
        return self._size

    def rows(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Return each id's row, ABSENT where it has none: (ids,)."""
        hashes = _hashed(ids)
        lines = hashes & self._last
        slots = (self._hashes.take(lines, axis=0) == hashes[:, None]).argmax(1)
        slots += lines * SLOTS
        # Where none is equal, the first one of the line was taken.
        is_found = self._hashes.take(slots) == hashes
        rows = np.where(is_found, self._rows.take(slots), np.intp(ABSENT))
        if self._aside:
            for n in np.flatnonzero(rows == ABSENT).tolist():
                rows[n] = self._aside.get(ids[n], ABSENT)
        return rows

    def _fill(self, hashes: NDArray[np.int64]) -> list[int]:
        """Write the rows' hashes into their lines, from the left; return rows that are not there.

        Those are what shares its hash with another, and what its line has no slot for.
        """
        order = np.lexsort((hashes, hashes & self._last))
        is_twin = hashes[order[1:]] == hashes[order[:-1]]
        is_shared = np.zeros(len(order), bool)
        is_shared[1:] |= is_twin
        is_shared[:-1] |= is_twin
        rows = order[~is_shared]
        lines = hashes[rows] & self._last
        slots = np.arange(len(rows)) - lines.searchsorted(lines)
        fits = slots < SLOTS
        self._hashes[lines[fits], slots[fits]] = hashes[rows[fits]]
        self._rows[lines[fits], slots[fits]] = rows[fits]
        # In the order of rows: of the same id the last one counts.
        return sorted([*order[is_shared].tolist(), *rows[~fits].tolist()])


def _hashed(ids: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, ids), np.int64, len(ids))
