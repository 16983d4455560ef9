"""Precision: steps in bf16 and fp16 do what steps in fp32 do."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.tiny import a_batch, a_distillation, snapshot, unsettled
from training import distill
from training.config import Config
from training.distill import TrainingData, step_losses, take_step
from training.model import TeacherStudent
from training.momentum import mix_teacher_gradients
from training.optimisation import Optimisation
from training.resume import Position, load_state, save_state
from training.tasks import total_loss
from training.tuning import joint_optimisation

HALF = ("bf16", "fp16")
# GradScaler begins at 65,536 and lowers it step by step; this is what the tiny models bear.
SCALE = 512.0


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return four teacher layers and two student layers, away from their starting point."""
    return unsettled(make_pair()).train()


def in_precision(precision: str) -> Config:
    """Mix, and clip nothing, so that Adam's first moments are a tenth of the gradients."""
    config = a_distillation(momentum=0.3, clip=1e9)
    return replace(config, run=replace(config.run, precision=precision))


def stepped(
    pair: TeacherStudent, data: TrainingData, precision: str, *, scale: float = SCALE
) -> Optimisation:
    """Take a step in a precision; `scale` is that of fp16's gradients."""
    config = in_precision(precision)
    optimisation = joint_optimisation(pair, config, steps=10)
    if state := optimisation.scaler.state_dict():
        optimisation.scaler.load_state_dict({**state, "scale": scale})
    take_step(pair, [a_batch(config)], data, optimisation, config=config, step=0)
    return optimisation


def moments(pair: TeacherStudent, optimisation: Optimisation) -> dict[str, Tensor]:
    """Return Adam's first moments by name."""
    states = optimisation.adam.state
    return {n: states[p]["exp_avg"] for n, p in pair.named_parameters() if p in states}


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("model", ["student", "teacher"])
def test_gradients_in_half_precision_are_close_to_those_in_fp32(
    pair: TeacherStudent, data: TrainingData, precision: str, model: str
) -> None:
    """After the mix, all of a model's together: direction within 1 %, length within 3 %."""
    other = copy.deepcopy(pair)
    full, half = (
        torch.cat([m.flatten() for n, m in found.items() if n.startswith(model)])
        for found in (
            moments(pair, stepped(pair, data, "fp32")),
            moments(other, stepped(other, data, precision)),
        )
    )
    assert not torch.equal(half, full)
    assert torch.cosine_similarity(half, full, dim=0) > 0.99
    assert half.norm() / full.norm() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("precision", HALF)
def test_the_mix_of_a_half_precision_step_is_exact(
    pair: TeacherStudent, data: TrainingData, precision: str
) -> None:
    """Weights and their gradients are fp32: a step is the mix of the gradients of its losses."""
    by_hand, config = copy.deepcopy(pair), in_precision(precision)
    found = moments(pair, stepped(pair, data, precision))
    parts = step_losses(by_hand, a_batch(config), data, config=config)
    (SCALE * total_loss(parts, config)).backward()
    mix_teacher_gradients(by_hand, config.distillation.momentum)
    expected = {n: p.grad for n, p in by_hand.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, moment in found.items():
        assert moment.dtype == torch.float32
        mixed = 0.1 * expected[name] / SCALE
        torch.testing.assert_close(moment, mixed, rtol=1e-5, atol=1e-8, msg=name)


def test_the_scale_is_taken_out_before_the_mix(
    pair: TeacherStudent, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the mix is given is as large in fp16 as in fp32, whatever the scale."""
    norms = []

    def mix(pair: TeacherStudent, beta: float) -> None:
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in pair.parameters()
                                                          if p.grad is not None])))  # fmt: skip

    monkeypatch.setattr(distill, "mix_teacher_gradients", mix)
    for precision, scale in (("fp32", 1.0), ("fp16", 2.0), ("fp16", SCALE)):
        stepped(copy.deepcopy(pair), data, precision, scale=scale)
    assert norms[1:] == pytest.approx([norms[0]] * 2, rel=0.03)


def test_a_step_that_overflows_leaves_everything_as_it_was(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """Parameters and moments of both models; the scale is halved and no gradient stays."""
    before = snapshot(pair)
    optimisation = stepped(pair, data, "fp16", scale=2.0**120)
    assert all(torch.equal(value, before[name]) for name, value in snapshot(pair).items())
    assert not any(moment.any() for moment in moments(pair, optimisation).values())
    assert optimisation.scaler.get_scale() == 2.0**119
    assert all(parameter.grad is None for parameter in pair.parameters())


def test_a_resume_restores_the_scale_and_when_it_grows(
    pair: TeacherStudent, data: TrainingData, tmp_path: Path
) -> None:
    """After an overflow and after a good step alike."""
    config = in_precision("fp16")
    for scale in (2.0**120, SCALE):
        optimisation = stepped(pair, data, "fp16", scale=scale)
        expected = optimisation.scaler.state_dict()
        path = tmp_path / "state.safetensors"
        save_state(path, model=pair, optimisation=optimisation, position=Position())
        resumed = joint_optimisation(pair, config, steps=10)
        load_state(path).restore_optimiser(pair, resumed)
        assert resumed.scaler.state_dict() == expected
        assert not any(name.startswith("scaler") for name in load_state(path).tensors)
        assert expected["scale"] == (SCALE if scale == SCALE else 2.0**119)
