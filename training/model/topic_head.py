"""Topic head: a text's topic from its pooled representation."""

from __future__ import annotations

from torch import Tensor, nn


class TopicHead(nn.Module):
    """Classify a pooled text; it is only ever given text without topic and subtopic."""

    def __init__(self, hidden: int, topics: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, topics)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits (B, topics) from pooled (B, hidden)."""
        logits: Tensor = self.linear(pooled)
        return logits
