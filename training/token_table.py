"""Token table: the token ids of many texts, padded only when a step asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.tokens import TextTokenizer, pad
from training.device import CPU

Rows = NDArray[np.int64]
# Enough to keep a core busy without gradients, and little enough for its cache.
TOKENS_PER_CHUNK = 4096


class TokenTable:
    """Hold the token ids of many texts, so that a step only pads and never tokenises."""

    def __init__(self, texts: Sequence[str], tokenizer: TextTokenizer) -> None:
        self._rows = tokenizer.rows(texts)
        self._pad_id = tokenizer.pad_id
        self.lengths: Rows = np.asarray([len(row) for row in self._rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def tokens(
        self, rows: Sequence[int] | Rows, device: torch.device = CPU
    ) -> tuple[Tensor, Tensor]:
        """Return ids and mask (B, T) of the given texts, on a device."""
        tokens = pad([self._rows[row] for row in rows], self._pad_id)
        return torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device)

    def chunks(self, rows: Rows, *, tokens_per_chunk: int) -> Iterator[Rows]:
        """Yield positions in `rows`, shortest texts first, cut by padded size."""
        order = np.argsort(self.lengths[rows], kind="stable")
        start = 0
        for end in range(1, len(order) + 1):
            longest = self.lengths[rows[order[min(end, len(order) - 1)]]]
            if end == len(order) or longest * (end - start + 1) > tokens_per_chunk:
                yield order[start:end]
                start = end


def encode_in_chunks(
    table: TokenTable,
    rows: Rows,
    encode: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    *,
    tokens_per_chunk: int = TOKENS_PER_CHUNK,
    device: torch.device = CPU,
) -> tuple[Tensor, ...]:
    """Encode rows, those of like length together; return each output (N, W) in their order.

    `encode` turns ids and mask (B, T) into outputs (B, W).
    """
    chunks = list(table.chunks(rows, tokens_per_chunk=tokens_per_chunk))
    parts = [encode(*table.tokens(rows[chunk], device)) for chunk in chunks]
    return tuple(restore_order(outputs, chunks) for outputs in zip(*parts, strict=True))


def restore_order(parts: Sequence[Tensor], positions: Sequence[Rows]) -> Tensor:
    """Undo the bucketing: put each chunk's rows back to where `chunks` took them from."""
    order = torch.from_numpy(np.argsort(np.concatenate(positions), kind="stable"))
    return torch.cat(list(parts))[order.to(parts[0].device)]
