"""Batches: which clicks and skips meet in a step, and each of their articles encoded once.

Encoding the distinct articles of a batch once, bucketed by length, and gathering them is the
central encoding of SpeedyFeed (Xiao et al., KDD 2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.article import Impression
from contract.tokens import TextTokenizer, pad

Rows = NDArray[np.int64]


class TokenTable:
    """Hold the token ids of many texts, so that a step only pads and never tokenises."""

    def __init__(self, texts: Sequence[str], tokenizer: TextTokenizer) -> None:
        self._rows = tokenizer.rows(texts)
        self._pad_id = tokenizer.pad_id
        self.lengths: Rows = np.asarray([len(row) for row in self._rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def tokens(self, rows: Sequence[int] | Rows) -> tuple[Tensor, Tensor]:
        """Return ids and mask (B, T) of the given texts."""
        tokens = pad([self._rows[row] for row in rows], self._pad_id)
        return torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)

    def chunks(self, rows: Rows, *, tokens_per_chunk: int) -> Iterator[Rows]:
        """Yield positions in `rows`, shortest texts first, cut by padded size."""
        order = np.argsort(self.lengths[rows], kind="stable")
        start = 0
        for end in range(1, len(order) + 1):
            longest = self.lengths[rows[order[min(end, len(order) - 1)]]]
            if end == len(order) or longest * (end - start + 1) > tokens_per_chunk:
                yield order[start:end]
                start = end


def restore_order(parts: Sequence[Tensor], positions: Sequence[Rows]) -> Tensor:
    """Undo the bucketing: put each chunk's rows back to where `chunks` took them from."""
    order = torch.from_numpy(np.argsort(np.concatenate(positions), kind="stable"))
    return torch.cat(list(parts))[order]


@dataclass(frozen=True)
class ClickRow:
    """Hold one impression's click-and-skip structure as article numbers."""

    history: tuple[int, ...]
    click: int
    skips: tuple[int, ...]


@dataclass(frozen=True)
class ClickBatch:
    """Hold the distinct articles of a step and where each is needed.

    The indices point into `articles`; padding points at 0 and is masked. A click stands first.
    """

    articles: Rows  # (N,)
    history: Tensor  # (B, H)
    history_mask: Tensor  # (B, H)
    candidates: Tensor  # (B, C)
    candidate_mask: Tensor  # (B, C)


def click_rows(
    impressions: Sequence[Impression], numbers: dict[str, int], *, history: int
) -> list[ClickRow]:
    """Make one row per click that has at least one skip beside it; unknown ids are left out."""
    return [
        row
        for impression in impressions
        for row in _rows_of(impression, numbers, history=history)
        if row.skips
    ]


def _rows_of(
    impression: Impression, numbers: dict[str, int], *, history: int
) -> Iterator[ClickRow]:
    read = tuple(numbers[i] for i in impression.history if i in numbers)[-history:]
    shown = [
        (numbers[i], clicked)
        for i, clicked in zip(impression.candidates, impression.clicks, strict=True)
        if i in numbers
    ]
    skips = tuple(number for number, clicked in shown if not clicked)
    return (ClickRow(read, number, skips) for number, clicked in shown if clicked)


def hold_out(identity: str, share: float) -> bool:
    """Tell whether an impression or article is among the `share` held out: the same ones always."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") < share * 2**32


def click_batches(
    rows: Sequence[ClickRow], *, rows_per_step: int, negatives_per_click: int, seed: int, epoch: int
) -> list[ClickBatch]:
    """Shuffle the rows, sample their negatives and cut them into steps; the seed fixes it all."""
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(rows))
    return [
        _batch([rows[i] for i in order[start : start + rows_per_step]], negatives_per_click, random)
        for start in range(0, len(rows), rows_per_step)
    ]


def _batch(rows: list[ClickRow], negatives: int, random: np.random.Generator) -> ClickBatch:
    candidates = [(row.click, *_sample(row.skips, negatives, random)) for row in rows]
    histories = [row.history for row in rows]
    articles = np.unique([n for numbers in (*candidates, *histories) for n in numbers])
    history, history_mask = _indices(histories, articles)
    candidate, candidate_mask = _indices(candidates, articles)
    return ClickBatch(articles, history, history_mask, candidate, candidate_mask)


def _sample(skips: tuple[int, ...], count: int, random: np.random.Generator) -> list[int]:
    chosen = random.choice(len(skips), size=min(count, len(skips)), replace=False)
    return [skips[i] for i in chosen]


def _indices(lists: Sequence[Sequence[int]], articles: Rows) -> tuple[Tensor, Tensor]:
    padded = pad([np.searchsorted(articles, numbers).tolist() for numbers in lists], 0)
    return torch.from_numpy(padded.ids), torch.from_numpy(padded.mask).bool()
