"""User encoder: the vectors of a history to the vector of its reader."""

from __future__ import annotations

from torch import Tensor, nn

from training.model.attention import AdditiveAttention


class UserEncoder(nn.Module):
    """Pool the clicked articles' vectors with additive attention."""

    def __init__(self, dim: int, query_width: int = 200) -> None:
        super().__init__()
        self.pooling = AdditiveAttention(dim, query_width)

    def forward(self, history: Tensor, mask: Tensor) -> Tensor:
        """Return (B, D) from history (B, H, D) and mask (B, H); no history gives zeros."""
        pooled: Tensor = self.pooling(history, mask)
        return pooled
