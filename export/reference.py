"""Reference: the checkpoint in torch behind the interface that evaluation asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from contract.article import Mask, Vectors
from contract.encoder import by_length
from contract.tokens import pad
from training.checkpoint import StudentCheckpoint

TOKENS_PER_BATCH = 1_024


class TorchReference:
    """Encode with the trained parameters, untouched: what every graph is measured against."""

    def __init__(self, checkpoint: StudentCheckpoint) -> None:
        self._model = checkpoint.model.eval()
        self._tokenizer = checkpoint.tokenizer()
        self._dim = checkpoint.model.architecture.dim

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        return self.vectors_of_rows(self._tokenizer.rows(texts))

    @torch.no_grad()
    def vectors_of_rows(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Encode token ids: (N,) -> (N, D), unit length."""
        result = np.empty((len(rows), self._dim), dtype=np.float32)  # (N, D)
        for batch in by_length([len(row) for row in rows], TOKENS_PER_BATCH):
            tokens = pad([rows[i] for i in batch], self._tokenizer.pad_id)
            ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
            result[batch] = self._model.news_encoder(ids, mask).vector.numpy()
        return result

    @torch.no_grad()
    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode histories: (B, H, D) and (B, H) -> (B, D)."""
        users = self._model.user_encoder(torch.from_numpy(history), torch.from_numpy(mask))
        return np.asarray(users.numpy(), dtype=np.float32)
