"""News encoder: the tokens of a text to its unit vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.model.attention import AdditiveAttention


@dataclass(frozen=True)
class NewsEncoding:
    """Hold every stage of an encoding, because the distillation losses compare them all."""

    embeddings: Tensor  # (B, T, hidden)
    hidden_states: tuple[Tensor, ...]  # one (B, T, hidden) per layer
    pooled: Tensor  # (B, hidden)
    vector: Tensor  # (B, D), unit length


class NewsEncoder(nn.Module):
    """Encode with a transformer, pool with additive attention, project, normalise.

    Teacher and student are two of these with their own backbone and the same pooling and dense.
    """

    def __init__(self, backbone: nn.Module, pooling: AdditiveAttention, dense: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.dense = dense

    def word_vectors(self, ids: Tensor) -> Tensor:
        """Look up token ids (U,), once for many texts: (U, hidden)."""
        # Any: every backbone has its table, but nn.Module cannot say so.
        backbone: Any = self.backbone
        vectors: Tensor = backbone.get_input_embeddings()(ids)
        return vectors

    def forward(self, ids: Tensor, mask: Tensor, words: Tensor | None = None) -> NewsEncoding:
        """Encode ids (B, T) under mask (B, T); `words` (U, hidden), if given, are what ids number.

        To go back through the whole table of words costs as much for a few texts as for many.
        """
        read = {"input_ids": ids}
        if words is not None:
            read = {"inputs_embeds": nn.functional.embedding(ids, words)}
        states = self.backbone(**read, attention_mask=mask, output_hidden_states=True).hidden_states
        # The transformer may run in bfloat16 (autocast); what is compared and ranked may not.
        with torch.autocast(ids.device.type, enabled=False):
            pooled = self.pooling(states[-1].float(), mask)
            vector = nn.functional.normalize(self.dense(pooled), dim=-1)
        return NewsEncoding(states[0], tuple(states[1:]), pooled, vector)


def mean_pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Return the unit mean over a text's tokens, the sentence vector of the pretrained teacher."""
    weights = mask.unsqueeze(-1).float()
    mean = (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
    return torch.nn.functional.normalize(mean, dim=-1)
