"""Momentum distillation: the teacher's gradients steer the student's (paper, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.model.student import TeacherStudent, transformer_layers


def mix_teacher_gradients(pair: TeacherStudent, beta: float) -> None:
    """Replace each student layer's gradient by beta * block mean + (1 - beta) * its own.

    Student layer i stands for teacher layers (i-1)K+1 .. iK; gradients are averaged over the block
    and mixed parameter by parameter. Call it between the backward pass and clipping.
    """
    if beta == 0.0:
        return
    blocks = teacher_blocks(pair)
    for layer, block in zip(transformer_layers(pair.student), blocks, strict=True):
        for name, parameter in layer.named_parameters():
            if parameter.grad is not None:
                mean = _mean_gradient(block, name)
                parameter.grad.mul_(1.0 - beta).add_(mean, alpha=beta)


def teacher_blocks(pair: TeacherStudent) -> list[list[nn.Module]]:
    """Return the teacher layers that each student layer stands for, lowest block first."""
    layers, size = transformer_layers(pair.teacher), pair.layers_per_block
    return [layers[start : start + size] for start in range(0, len(layers), size)]


def _mean_gradient(block: list[nn.Module], name: str) -> Tensor:
    gradients = [layer.get_parameter(name).grad for layer in block]
    known = [gradient for gradient in gradients if gradient is not None]
    if len(known) != len(block):
        raise ValueError(f"teacher block without gradient for {name}: tune whole blocks")
    return torch.stack(known).mean(dim=0)
