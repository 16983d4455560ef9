"""Optimisation: AdamW over named parameter groups, clipped, with linear warm-up and decay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW


@dataclass(frozen=True)
class ParameterGroup:
    """Name parameters that share a peak learning rate and a weight decay."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float
    weight_decay: float = 0.0


def parameter_group(
    name: str, modules: Iterable[nn.Module], learning_rate: float, weight_decay: float = 0.0
) -> ParameterGroup:
    """Group the trainable parameters of some modules."""
    parameters = (p for module in modules for p in module.parameters() if p.requires_grad)
    return ParameterGroup(name, tuple(parameters), learning_rate, weight_decay)


class Optimisation:
    """Take optimiser steps whose learning rate depends on the number of the step alone."""

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        steps: int,
        warmup_share: float,
        clip: float,
        scaled: bool = False,
    ) -> None:
        self._groups = [group for group in groups if group.parameters]
        self._steps = steps
        self._warmup = max(1, round(steps * warmup_share))
        self._clip = clip
        self.adam = AdamW(
            [
                {"params": list(g.parameters), "lr": 0.0, "weight_decay": g.weight_decay}
                for g in self._groups
            ],
            fused=True,
        )
        # Gradients in fp16 are scaled up so that small ones survive; otherwise this does nothing.
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=scaled)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return every parameter that is trained."""
        return [parameter for group in self._groups for parameter in group.parameters]

    @property
    def learning_rate(self) -> float:
        """Return the first group's learning rate at the last step."""
        return float(self.adam.param_groups[0]["lr"])

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients, scaled where the run is in fp16."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch

    def unscale(self) -> None:
        """Take the scale out of all gradients at once, before anything compares or mixes them."""
        self.scaler.unscale_(self.adam)

    def step(self, number: int) -> None:
        """Clip, take step `number` (from 0) and clear the gradients.

        A step whose scaled gradients overflowed is left out, and the scale is lowered.
        """
        torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
        factor = learning_rate_factor(number, steps=self._steps, warmup=self._warmup)
        for settings, group in zip(self.adam.param_groups, self._groups, strict=True):
            settings["lr"] = group.learning_rate * factor
        self.scaler.step(self.adam)
        self.scaler.update()
        self.adam.zero_grad(set_to_none=True)


def learning_rate_factor(number: int, *, steps: int, warmup: int) -> float:
    """Rise linearly to 1 over the warm-up, then fall linearly towards 0 at the last step."""
    if number < warmup:
        return (number + 1) / warmup
    return max(0.0, (steps - number) / max(1, steps - warmup))
