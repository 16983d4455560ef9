"""Batches: what meets in a step, and each of its texts encoded once.

Encoding the distinct texts of a batch once and gathering them is the central encoding of SpeedyFeed
(Xiao et al., KDD 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.device import Movable
from training.token_table import Rows


@dataclass(frozen=True)
class ClickRow:
    """Hold a click, the skips beside it and the history before it, as rows of the token table."""

    history: tuple[int, ...]
    click: int
    skips: tuple[int, ...]


@dataclass(frozen=True)
class TopicTexts:
    """Hold labelled texts: rows of the token table (M,), topic numbers (M,), taxonomies (M,).

    `members` (X, L) tells which of the L topics belong to each of the X taxonomies: a text is
    classified among the topics of its own taxonomy.
    """

    rows: Rows
    numbers: Rows
    taxonomies: Rows
    members: NDArray[np.bool_]


@dataclass(frozen=True)
class QueryRow:
    """Hold a query and the articles relevant to it, as rows of the token table."""

    query: int
    relevant: tuple[int, ...]


@dataclass(frozen=True)
class TaskRows:
    """Hold the rows of every task that is on; a task that is off has none."""

    clicks: Sequence[ClickRow]
    topics: TopicTexts
    queries: Sequence[QueryRow]


@dataclass(frozen=True)
class StepSizes:
    """Say how many rows of each task meet in a batch; negatives per click, 0 for all skips."""

    clicks: int
    negatives: int
    topic_texts: int
    queries: int


@dataclass(frozen=True)
class ClickBatch(Movable):
    """Point into a batch's texts; padding points at 0 and is masked. A click stands first."""

    history: Tensor  # (B, H)
    history_mask: Tensor  # (B, H)
    candidates: Tensor  # (B, C)
    candidate_mask: Tensor  # (B, C)


@dataclass(frozen=True)
class TopicBatch(Movable):
    """Point into a batch's texts; `members` marks the topics of each text's taxonomy."""

    texts: Tensor  # (M,)
    numbers: Tensor  # (M,)
    members: Tensor  # (M, L)


@dataclass(frozen=True)
class QueryBatch(Movable):
    """Pair query i with article i; `mask` leaves out other articles relevant to query i."""

    queries: Tensor  # (Q,)
    articles: Tensor  # (Q,)
    mask: Tensor  # (Q, Q)


@dataclass(frozen=True)
class Batch(Movable):
    """Hold the texts of a step, as rows of the token table (N,), and where each is needed."""

    texts: Rows
    clicks: ClickBatch | None = None
    topics: TopicBatch | None = None
    queries: QueryBatch | None = None

    @property
    def examples(self) -> int:
        """Return how many clicks, labelled texts and queries the batch teaches."""
        clicks = len(self.clicks.history) if self.clicks is not None else 0
        topics = len(self.topics.texts) if self.topics is not None else 0
        queries = len(self.queries.queries) if self.queries is not None else 0
        return clicks + topics + queries


def batches_per_epoch(rows: TaskRows, sizes: StepSizes) -> int:
    """Return how many batches show every row of the leading task once.

    Clicks lead where they are learnt, else labelled texts, else queries; the other tasks' rows are
    drawn beside them.
    """
    counts = ((rows.clicks, sizes.clicks), (rows.topics.rows, sizes.topic_texts))
    leading, size = next((c for c in counts if len(c[0])), (rows.queries, sizes.queries))
    return -(-len(leading) // size)


def epoch_batches(
    rows: TaskRows,
    sizes: StepSizes,
    *,
    seed: int,
    epoch: int,
    distinct: bool = True,
    first: int = 0,
) -> Iterator[Batch]:
    """Yield an epoch's batches from number `first` on; seed, epoch and number fix each of them."""
    orders = {
        name: np.random.default_rng((seed, epoch)).permutation(len(part))
        for name, part in (
            ("clicks", rows.clicks),
            ("topics", rows.topics.rows),
            ("queries", rows.queries),
        )
    }
    for number in range(first, batches_per_epoch(rows, sizes)):
        random = np.random.default_rng((seed, epoch, number))
        clicks = [rows.clicks[i] for i in _cut(orders["clicks"], sizes.clicks, number)]
        topics = _topic_choice(rows, orders["topics"], sizes, number, random)
        queries = _wrapped(orders["queries"], sizes.queries, number)
        yield _batch(
            [_with_sampled_skips(row, sizes.negatives, random) for row in clicks],
            topics,
            [_with_one_relevant(rows.queries[i], random) for i in queries],
            rows,
            distinct=distinct,
        )


def _cut(order: Rows, size: int, number: int) -> Rows:
    return order[number * size : (number + 1) * size]


def _wrapped(order: Rows, size: int, number: int) -> Rows:
    # A task that does not lead goes round its rows as often as the leading one needs.
    wanted = min(size, len(order))
    return np.take(order, np.arange(number * wanted, (number + 1) * wanted), mode="wrap")


def _topic_choice(
    rows: TaskRows, order: Rows, sizes: StepSizes, number: int, random: np.random.Generator
) -> Rows:
    if not rows.clicks:
        return _cut(order, sizes.topic_texts, number)
    # Every taxonomy alike: the largest would otherwise crowd out the publisher's own topics.
    known = np.unique(rows.topics.taxonomies)
    chosen = [
        random.permutation(np.flatnonzero(rows.topics.taxonomies == taxonomy))[:share]
        for taxonomy, share in zip(known, _shares(sizes.topic_texts, len(known)), strict=True)
    ]
    return np.concatenate(chosen) if chosen else order


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def _with_sampled_skips(row: ClickRow, count: int, random: np.random.Generator) -> ClickRow:
    if not count or len(row.skips) <= count:
        return row
    chosen = random.choice(len(row.skips), size=count, replace=False)
    return ClickRow(row.history, row.click, tuple(row.skips[i] for i in chosen))


def _with_one_relevant(row: QueryRow, random: np.random.Generator) -> tuple[QueryRow, int]:
    return row, row.relevant[int(random.integers(len(row.relevant)))]


def _batch(
    clicks: Sequence[ClickRow],
    topics: Rows,
    queries: Sequence[tuple[QueryRow, int]],
    rows: TaskRows,
    *,
    distinct: bool,
) -> Batch:
    slots = _Slots()
    histories = [slots.add(row.history) for row in clicks]
    candidates = [slots.add((row.click, *row.skips)) for row in clicks]
    labelled = slots.add(rows.topics.rows[topics])
    asked = slots.add([row.query for row, _ in queries])
    answers = slots.add([article for _, article in queries])
    texts, place = slots.number(distinct=distinct)
    return Batch(
        texts,
        _click_batch([place[s] for s in histories], [place[s] for s in candidates]),
        _topic_batch(place[labelled], topics, rows.topics),
        _query_batch(place[asked], place[answers], queries),
    )


class _Slots:
    """Collect the texts that a batch needs, slot by slot, before they are numbered."""

    def __init__(self) -> None:
        self._rows: list[int] = []

    def add(self, rows: Sequence[int] | Rows) -> slice:
        """Take in some slots and say where they are."""
        start = len(self._rows)
        self._rows.extend(int(row) for row in rows)
        return slice(start, len(self._rows))

    def number(self, *, distinct: bool) -> tuple[Rows, Rows]:
        """Return the texts to encode (N,) and each slot's place among them (S,)."""
        rows = np.asarray(self._rows, dtype=np.int64)
        if not distinct:
            return rows, np.arange(len(rows))
        texts, place = np.unique(rows, return_inverse=True)
        return texts, place


def _click_batch(histories: Sequence[Rows], candidates: Sequence[Rows]) -> ClickBatch | None:
    if not candidates:
        return None
    return ClickBatch(*_padded(histories), *_padded(candidates))


def _topic_batch(texts: Rows, chosen: Rows, topics: TopicTexts) -> TopicBatch | None:
    if not len(texts):
        return None
    return TopicBatch(
        torch.from_numpy(texts),
        torch.from_numpy(topics.numbers[chosen]),
        torch.from_numpy(topics.members[topics.taxonomies[chosen]]),
    )


def _query_batch(
    asked: Rows, answers: Rows, queries: Sequence[tuple[QueryRow, int]]
) -> QueryBatch | None:
    if not len(asked):
        return None
    articles = [article for _, article in queries]
    mask = [
        [i == j or article not in row.relevant for j, article in enumerate(articles)]
        for i, (row, _) in enumerate(queries)
    ]
    return QueryBatch(torch.from_numpy(asked), torch.from_numpy(answers), torch.tensor(mask))


def _padded(lists: Sequence[Rows]) -> tuple[Tensor, Tensor]:
    width = max(1, *(len(numbers) for numbers in lists))
    indices = np.zeros((len(lists), width), dtype=np.int64)
    mask = np.zeros((len(lists), width), dtype=bool)
    for i, numbers in enumerate(lists):
        indices[i, : len(numbers)], mask[i, : len(numbers)] = numbers, True
    return torch.from_numpy(indices), torch.from_numpy(mask)
