"""Following: the processes beside the first of a run learn with it and keep nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from safetensors.torch import load, save
from torch import Tensor, nn

from training import parallel
from training.optimisation import Optimisation
from training.resume import Position, State


class Follower:
    """Stand where the first process has its run: note nothing, save nothing, decide nothing."""

    def should_stop(self) -> bool:
        """Leave that to the first process."""
        return False

    def start_stage(self, stage: str, *, steps: int, done: int) -> None:
        """Note nothing."""

    def log(self, step: int, losses: Mapping[str, Tensor], **figures: object) -> None:
        """Note nothing."""

    def save_if_due(self, step: int, *, model: nn.Module, optimisation: Optimisation) -> None:
        """Save nothing."""

    def finish_epoch(self, epoch: int, *, model: nn.Module, optimisation: Optimisation) -> None:
        """Save nothing."""


def start_together(model: nn.Module, state: State) -> State:
    """Give every process the first one's parameters, optimiser and position; return its state."""
    if parallel.count() == 1:
        return state
    told = {"position": asdict(state.position), "scaler": dict(state.scaler)}
    facts = json.loads(parallel.from_the_first(json.dumps(told).encode()))
    tensors = load(parallel.from_the_first(save(dict(state.tensors))))
    for parameter in model.parameters():
        parallel.copy_from_the_first(parameter)
    return State(Position(**facts["position"]), tensors, facts["scaler"])
