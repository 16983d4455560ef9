"""Words: BM25 scores of a snapshot's rows, from an index that is rebuilt in the background."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import structlog
from numpy.typing import NDArray

from service.columns import Facts
from service.lexicon import Lexicon
from service.ports import WordIndex, WordIndexBuilder
from service.snapshot import Snapshot

# Rows beyond the index before it is rebuilt: 5 % of it or 2,000, whichever is less. They are found
# all the same, at some cost, and the frequencies of words that they bring begin to count.
TAIL_SHARE, TAIL_ROWS = 0.05, 2_000
LOOK_S, REST_S = 1.0, 60.0
# Up to so many rows beyond the index are looked through at once: in a thread it would take longer.
AT_ONCE = 4_000

log = structlog.get_logger()


class Words:
    """Scores rows by the words of a query; run() rebuilds the index until cancelled.

    `rebuilt` counts how often it did.

    The index goes with the list of facts that it was built over. A merge makes a new list and
    keeps the order of what it keeps, so the index is carried over, not lost. Any thread may ask.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        lexicon: Lexicon,
        builder: WordIndexBuilder,
        executor: Executor,
        *,
        tail_rows: int = TAIL_ROWS,
        at_once: int = AT_ONCE,
        look_s: float = LOOK_S,
        rest_s: float = REST_S,
    ) -> None:
        self._snapshot = snapshot
        self._lexicon = lexicon
        self._builder = builder
        self._executor = executor
        self._tail_rows, self._at_once = tail_rows, at_once
        self._look_s, self._rest_s = look_s, rest_s
        # Replaced whole. Of the columns the facts alone: old matrices are too large to keep.
        self._held: tuple[list[Facts], WordIndex] = ([], builder.build([], 0))
        self._replacing = threading.Lock()
        self._rested = 0.0
        self.rebuilt = 0

    def scores(self, snapshot: Snapshot, text: str) -> NDArray[np.float32]:
        """Return the BM25 score of every row of a snapshot: (count,)."""
        index, terms = self._over(snapshot.columns.facts), snapshot.columns.terms
        tail = terms[index.size : snapshot.count]
        return index.scores(self._lexicon.codes(text), tail)[: snapshot.count]

    async def search(self, snapshot: Snapshot, text: str) -> NDArray[np.float32]:
        """Return the scores, in a thread where that takes long: soon after a start or a merge."""
        facts, index = self._held
        if facts is snapshot.columns.facts and snapshot.count - index.size <= self._at_once:
            return self.scores(snapshot, text)
        return await asyncio.to_thread(self.scores, snapshot, text)

    def covered(self, snapshot: Snapshot) -> int:
        """Return how many rows of a snapshot the index has; the others are its tail."""
        return self._over(snapshot.columns.facts).size

    async def run(self) -> None:
        """Rebuild whenever the tail has grown long, and rest in between.

        There is no rest while more rows are in a long tail than in the index, unless a rebuild has
        failed.
        """
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - none of them is a reason to rebuild no more
                log.warning("words_not_rebuilt", error=type(error).__name__)
                await asyncio.sleep(self._rest_s)
            await asyncio.sleep(self._look_s)

    async def _look(self) -> None:
        snapshot = self._snapshot()
        size = await asyncio.to_thread(self.covered, snapshot)
        tail = snapshot.count - size
        is_due = tail > min(TAIL_SHARE * size, self._tail_rows)
        if is_due and (tail > max(size, self._tail_rows) or time.monotonic() >= self._rested):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._rebuild, snapshot)
            self._rested = time.monotonic() + self._rest_s

    def _over(self, facts: list[Facts]) -> WordIndex:
        known, index = self._held
        if facts is known:
            return index
        with self._replacing:
            known, index = self._held
            if facts is not known:
                index = index.taken(_carried(known[: index.size], facts))
            # Who still reads a snapshot of before a merge must not undo what was carried over it.
            if facts is self._snapshot().columns.facts:
                self._held = facts, index
            return index

    def _rebuild(self, snapshot: Snapshot) -> None:
        # The words of these rows have their codes by now: the lexicon only grows.
        terms, vocabulary = snapshot.columns.terms[: snapshot.count], len(self._lexicon)
        index = self._builder.build(terms, vocabulary)
        with self._replacing:
            self._held = snapshot.columns.facts, index
        self.rebuilt += 1


def _carried(known: Sequence[Facts], facts: Sequence[Facts]) -> NDArray[np.intp]:
    """Return which of the known rows the new ones begin with, in order."""
    old, new = _identities(known), _identities(facts)
    order = np.argsort(old)
    places = np.searchsorted(old, new, sorter=order)
    is_known = places < len(old)
    rows = order[places[is_known]]
    is_known[is_known] = old[rows] == new[is_known]
    end = int(is_known.argmin()) if not is_known.all() else len(new)
    return rows[:end]


def _identities(facts: Sequence[Facts]) -> NDArray[np.intp]:
    return np.fromiter(map(id, facts), np.intp, len(facts))
