"""Every loss of the method, as a pure function of tensors.

Teacher tensors are detached here, so that no student loss can move the teacher.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from training.device import numbers_of
from training.errors import NonFiniteLoss


def click_loss(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the cross-entropy of the clicked candidate, which stands first in its row.

    scores and mask are (B, C), one click and its sampled skips; masked candidates do not exist.
    """
    return -_log_softmax(scores, mask)[:, 0].mean()


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, mask: Tensor, *, temperature: float
) -> Tensor:
    """Return CE(teacher / T, student / T) over the candidates (paper, L_distill).

    Both sides are divided by the temperature. Scores and mask are (B, C).
    """
    target = _log_softmax(teacher.detach() / temperature, mask).exp()
    predicted = _log_softmax(student / temperature, mask)
    return -(target * predicted).sum(dim=-1).mean()


def masked_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared error over real tokens: (B, T, hidden) twice, mask (B, T)."""
    error = (student.float() - teacher.detach().float()).square().mean(dim=-1)  # (B, T)
    weights = mask.to(error.dtype)
    return (error * weights).sum() / weights.sum().clamp(min=1.0)


def hidden_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask: Tensor) -> Tensor:
    """Sum the masked MSE of student layer i and the last teacher layer of block i (L_hidden^l)."""
    per_block = len(teacher) // len(student)
    lasts = teacher[per_block - 1 :: per_block]
    errors = [masked_mse(s, t, mask) for s, t in zip(student, lasts, strict=True)]
    return torch.stack(errors).sum()


def pooled_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared error of pooled texts, (B, hidden) twice (L_hidden^p)."""
    return functional.mse_loss(student, teacher.detach())


def topic_loss(logits: Tensor, topics: Tensor, members: Tensor) -> Tensor:
    """Return the cross-entropy of topic numbers (M,) among the topics of each text's taxonomy.

    logits are (M, L); `members` (M, L) marks the topics that compete.
    """
    return functional.nll_loss(_log_softmax(logits, members), topics)


def in_batch_loss(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the cross-entropy of pairing query i with article i: scores and mask are (Q, Q)."""
    return -_log_softmax(scores, mask).diagonal().mean()


def cosine_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between vectors and targets, (B, D) twice."""
    return (1.0 - functional.cosine_similarity(vectors, targets.detach(), dim=-1)).mean()


def similarity_loss(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of two similarity matrices, off the diagonal.

    Unit vectors (B, D) and (B, W): the widths may differ, because only cosines are compared.
    """
    ours = vectors @ vectors.T
    theirs = teacher.detach() @ teacher.detach().T
    count = len(vectors)
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=ours.device)
    return (ours - theirs).square()[off_diagonal].mean()


def check_finite(step: int, losses: Mapping[str, Tensor]) -> None:
    """Stop with NonFiniteLoss, which names the losses that are NaN or infinite."""
    values = zip(losses, numbers_of(losses.values()), strict=True)
    broken = [name for name, value in values if not math.isfinite(value)]
    if broken:
        raise NonFiniteLoss(step=step + 1, names=broken)


def _log_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    # The lowest finite number instead of -inf keeps 0 * log 0 out of the soft cross-entropy.
    return torch.log_softmax(scores.masked_fill(~mask, -1e9), dim=-1)
