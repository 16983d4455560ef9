"""Device: training computes where the model's parameters are; nothing else says where."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor, nn

from training.errors import DeviceError

CPU = torch.device("cpu")


def take_device(name: str) -> torch.device:
    """Return the device to train on: `cpu`, `cuda`, or `auto` for CUDA where torch sees any.

    Of several processes on a host each takes one of its own. Too few raise DeviceError.
    """
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not seen):
        return CPU
    if not seen:
        raise DeviceError("--device cuda: torch sees no CUDA device here")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= seen:
        raise DeviceError(
            f"process {number + 1} of this host finds no CUDA device of its own: torch sees {seen}"
        )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's parameters are."""
    return next(model.parameters()).device


def name_of(device: torch.device) -> str:
    """Return what a run's card says of a device."""
    if device.type != "cuda":
        return device.type
    return f"{device.type} ({torch.cuda.get_device_name(device)})"


def numbers_of(values: Iterable[Tensor]) -> list[float]:
    """Read single numbers, all at once: a GPU is waited for at each reading."""
    read: list[float] = torch.stack([value.detach() for value in values]).cpu().tolist()
    return read


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context of the forward pass: fp32, or half the bits where that is safe."""
    dtype = {"fp16": torch.float16}.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


@dataclass(frozen=True)
class Movable:
    """Let a dataclass of tensors, and of others of its kind, be moved as one."""

    def to(self, device: torch.device) -> Self:
        """Return it with every tensor on a device; what is no tensor stays what it is."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {n: v.to(device) for n, v in values.items() if isinstance(v, Tensor | Movable)}
        return replace(self, **moved)
