"""Words: BM25 scores of a snapshot's rows, from an index that is rebuilt in the background."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from service.columns import Facts
from service.lexicon import Lexicon
from service.ports import WordIndex, WordIndexBuilder
from service.snapshot import Snapshot

# Rows beyond the index before it is rebuilt: 5 % of it or 2,000, whichever is less. They are found
# all the same, at some cost, and the frequencies of words that they bring begin to count.
TAIL_SHARE, TAIL_ROWS = 0.05, 2_000
LOOK_S, REST_S = 1.0, 60.0


class Words:
    """Scores rows by the words of a query; run() rebuilds the index until cancelled.

    `rebuilt` counts how often it did.

    The index goes with the list of facts that it was built over. A merge makes a new list and
    keeps the order of what it keeps, so the index is carried over, not lost.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        lexicon: Lexicon,
        builder: WordIndexBuilder,
        executor: Executor,
        *,
        tail_rows: int = TAIL_ROWS,
        look_s: float = LOOK_S,
        rest_s: float = REST_S,
    ) -> None:
        self._snapshot = snapshot
        self._lexicon = lexicon
        self._builder = builder
        self._executor = executor
        self._tail_rows = tail_rows
        self._look_s, self._rest_s = look_s, rest_s
        # Replaced whole. Of the columns the facts alone: old matrices are too large to keep.
        self._held: tuple[list[Facts], WordIndex] = ([], builder.build([], 0))
        self.rebuilt = 0

    def scores(self, snapshot: Snapshot, text: str) -> NDArray[np.float32]:
        """Return the BM25 score of every row of the latest snapshot: (count,)."""
        index, terms = self._over(snapshot.columns.facts), snapshot.columns.terms
        tail = terms[index.size : snapshot.count]
        return index.scores(self._lexicon.codes(text), tail)[: snapshot.count]

    async def run(self) -> None:
        """Rebuild whenever the tail has grown long, and rest in between."""
        while True:
            is_due = self._is_due(self._snapshot())
            if is_due:
                await self._rebuild(self._snapshot())
            await asyncio.sleep(self._rest_s if is_due else self._look_s)

    def _over(self, facts: list[Facts]) -> WordIndex:
        known, index = self._held
        if facts is not known:
            index = index.taken(_carried(known[: index.size], facts))
            self._held = facts, index
        return index

    def _is_due(self, snapshot: Snapshot) -> bool:
        size = self._over(snapshot.columns.facts).size
        return snapshot.count - size > min(TAIL_SHARE * size, self._tail_rows)

    async def _rebuild(self, snapshot: Snapshot) -> None:
        # The words of these rows have their codes by now: the lexicon only grows.
        terms, vocabulary = snapshot.columns.terms[: snapshot.count], len(self._lexicon)
        index = await asyncio.get_running_loop().run_in_executor(
            self._executor, self._builder.build, terms, vocabulary
        )
        self._held = snapshot.columns.facts, index
        self.rebuilt += 1


def _carried(known: Sequence[Facts], facts: Sequence[Facts]) -> NDArray[np.intp]:
    """Return which of the known rows the new ones begin with, in order."""
    rows, places = list[int](), iter(enumerate(known))
    for one in facts:
        row = next((n for n, other in places if other is one), None)
        if row is None:
            break
        rows.append(row)
    return np.array(rows, np.intp)
