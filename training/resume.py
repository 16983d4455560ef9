"""Resume: everything a killed run needs to continue as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from training.device import device_of
from training.errors import NonFiniteWeights, ResumeError
from training.files import write_tensors
from training.optimisation import Optimisation

STAGES = ("text_distillation", "heads", "distillation")
_RNG = "rng"
_OPTIMISER = "optimiser/"


@dataclass(frozen=True)
class Position:
    """Say how far a run is: the stage, what is done of it, and the best epoch so far."""

    stage: str = STAGES[0]
    steps_done: int = 0
    epochs_done: int = 0
    best_epoch: int = 0
    best_auc: float = 0.0

    def is_past(self, stage: str) -> bool:
        """Tell whether the run has left a stage behind."""
        return STAGES.index(self.stage) > STAGES.index(stage)

    def covers(self, stage: str, step: int, *, epoch: int = 0) -> bool:
        """Tell whether a step, or an epoch, had been done when this position was saved."""
        return self.is_past(stage) or (
            self.stage == stage and step <= self.steps_done and epoch <= self.epochs_done
        )


@dataclass(frozen=True)
class State:
    """Hold a saved position with the tensors and the gradients' scale that belong to it."""

    position: Position = field(default_factory=Position)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)

    def restore_model(self, model: nn.Module) -> None:
        """Put back every parameter and the random generators; a fresh state changes nothing."""
        if not self.tensors:
            return
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                found = self.tensors.get(name)
                if found is None or found.shape != parameter.shape:
                    raise ResumeError(f"the saved state holds no {name} of this shape")
                parameter.copy_(found)
        _restore_chance(self.tensors, device_of(model))

    def restore_optimiser(self, model: nn.Module, optimisation: Optimisation) -> None:
        """Put back the optimiser's moments and the scale of fp16 gradients."""
        names = {parameter: name for name, parameter in model.named_parameters()}
        for parameter in optimisation.parameters:
            prefix = f"{_OPTIMISER}{names[parameter]}/"
            moments = {
                name.removeprefix(prefix): value.to(parameter.device)
                for name, value in self.tensors.items()
                if name.startswith(prefix)
            }
            if moments:
                optimisation.adam.state[parameter] = moments
        if self.scaler:
            optimisation.scaler.load_state_dict(dict(self.scaler))


def save_state(
    path: Path, *, model: nn.Module, optimisation: Optimisation | None, position: Position
) -> None:
    """Write parameters, optimiser moments, random generators and position as one atomic file.

    Weights that are not finite raise NonFiniteWeights, and the file stays as it is.
    """
    check_finite_weights(model, step=position.steps_done)
    names = {parameter: name for name, parameter in model.named_parameters()}
    tensors = {name: parameter.detach() for parameter, name in names.items()}
    tensors |= _chance(device_of(model))
    if optimisation is not None:
        for parameter in optimisation.parameters:
            for key, value in optimisation.adam.state[parameter].items():
                tensors[f"{_OPTIMISER}{names[parameter]}/{key}"] = value
    scaler = {} if optimisation is None else optimisation.scaler.state_dict()
    told = {"position": json.dumps(asdict(position)), "scaler": json.dumps(scaler)}
    write_tensors(path, tensors, told)


def _chance(device: torch.device) -> dict[str, Tensor]:
    """Return the state of the CPU's random generator, and of the device's own where it has one."""
    states = {_RNG: torch.get_rng_state()}
    if device.type != "cpu":
        states[_device_rng(device)] = torch.get_device_module(device).get_rng_state(device)
    return states


def _restore_chance(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors[_RNG])
    # Saved on another kind of device, a run draws on from its seed.
    if (state := tensors.get(_device_rng(device))) is not None:
        torch.get_device_module(device).set_rng_state(state, device)


def _device_rng(device: torch.device) -> str:
    return f"{_RNG}/{device.type}"


def check_finite_weights(model: nn.Module, *, step: int) -> None:
    """Raise NonFiniteWeights if a parameter is NaN or infinite."""
    broken = [n for n, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if broken:
        raise NonFiniteWeights(step=step, names=broken)


def load_state(path: Path) -> State:
    """Read what `save_state` wrote; a run killed before its first save starts afresh."""
    if not path.exists():
        return State()
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
            position = Position(**json.loads(told["position"]))
            scaler = json.loads(told.get("scaler", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ResumeError(f"{path.name}: {error}") from error
    return State(position, tensors, scaler)
