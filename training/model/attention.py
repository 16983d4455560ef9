"""Additive attention: one vector out of a sequence, by learned weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """Pool a sequence with weights softmax(q . tanh(Wx + b)) over the unmasked positions.

    A fresh query is zero, so pooling starts as the plain mean.
    """

    def __init__(self, width: int, query_width: int = 200) -> None:
        super().__init__()
        self.projection = nn.Linear(width, query_width)
        self.query = nn.Linear(query_width, 1, bias=False)
        nn.init.zeros_(self.query.weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, D) from x (B, T, D) and mask (B, T); a fully masked row gives zeros."""
        mask = mask.bool()
        logits = self.query(torch.tanh(self.projection(x))).squeeze(-1)  # (B, T)
        # The lowest finite number, not -inf: a fully masked row must not become NaN.
        logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
        weights = torch.softmax(logits, dim=-1) * mask  # (B, T)
        return torch.einsum("bt,btd->bd", weights, x)
