"""Click model: how much a reader's history speaks for a candidate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from contract.scoring import ClickModel as ContractClickModel


class ClickModel(nn.Module):
    """Score s * (u.v + lambda * t) + b.v, with t = sum_j softmax_j(tau * h_j.v) * (h_j.v).

    The same formula in NumPy is `contract.scoring`; a test holds the two together.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.attention = nn.Parameter(torch.tensor(1.0))
        self.temperature = nn.Parameter(torch.tensor(10.0))
        self.content = nn.Parameter(torch.zeros(dim))

    def forward(self, user: Tensor, history: Tensor, mask: Tensor, candidates: Tensor) -> Tensor:
        """Return (B, C) from user (B, D), history (B, H, D), mask (B, H), candidates (B, C, D)."""
        match = torch.einsum("bd,bcd->bc", user, candidates)
        interest = self._interest(history, mask.bool(), candidates)
        content = candidates @ self.content
        return self.scale * (match + self.attention * interest) + content

    def _interest(self, history: Tensor, mask: Tensor, candidates: Tensor) -> Tensor:
        similarity = torch.einsum("bhd,bcd->bch", history, candidates)
        read = mask.unsqueeze(1)  # (B, 1, H)
        logits = (self.temperature * similarity).masked_fill(
            ~read, torch.finfo(similarity.dtype).min
        )
        weights = torch.softmax(logits, dim=-1) * read  # (B, C, H)
        return (weights * similarity).sum(dim=-1)

    def to_contract(self) -> ContractClickModel:
        """Return the same parameters for NumPy scoring."""
        return ContractClickModel(
            scale=float(self.scale.detach()),
            attention=float(self.attention.detach()),
            temperature=float(self.temperature.detach()),
            content=self.content.detach().float().cpu().numpy().copy(),
        )
