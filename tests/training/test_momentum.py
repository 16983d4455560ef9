"""Momentum distillation: one real step against the same step mixed by hand."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from training.config import Config
from training.distill import (
    ClickData,
    click_optimisation,
    epoch_batches,
    step_losses,
    take_step,
    total_loss,
)
from training.model import TeacherStudent
from training.model.student import transformer_layers
from training.momentum import mix_teacher_gradients, teacher_blocks

MakePair = Callable[..., TeacherStudent]


def gradients_of(loss: Tensor, pair: TeacherStudent) -> dict[str, Tensor]:
    """Return the gradient of one loss alone, zero where it does not reach."""
    parameters = dict(pair.named_parameters())
    found = torch.autograd.grad(
        loss, list(parameters.values()), retain_graph=True, allow_unused=True
    )
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }


def mixed_by_hand(
    pair: TeacherStudent, parts: Mapping[str, Tensor], config: Config, beta: float
) -> dict[str, Tensor]:
    """Add up two separate backward passes and mix student layer i with teacher layers 2i, 2i+1."""
    teacher = gradients_of(parts["teacher"], pair)
    everything = total_loss(parts, config.distillation.weights)
    student = gradients_of(everything - parts["teacher"], pair)
    mixed = {name: teacher[name] + student[name] for name in teacher}
    for name in mixed:
        if ".encoder.layer." in name and name.startswith("student."):
            head, tail = name.removeprefix("student.").split(".layer.")
            number, rest = tail.split(".", 1)
            first, second = (
                teacher[f"teacher.{head}.layer.{2 * int(number) + j}.{rest}"] for j in (0, 1)
            )
            mixed[name] = beta * (first + second) / 2 + (1 - beta) * student[name]
    return mixed


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_one_step_equals_the_hand_mixed_step(
    make_pair: MakePair, click_data: ClickData, without_dropout: Config, beta: float
) -> None:
    """Every parameter, after clipping and AdamW; weight 0 is a step without momentum."""
    config = replace(
        without_dropout, distillation=replace(without_dropout.distillation, momentum=beta)
    )
    pair = make_pair()
    by_hand = copy.deepcopy(pair)
    batch = epoch_batches(click_data, config, epoch=1)[0]

    optimisation = click_optimisation(pair, config.distillation, steps=10)
    parts = step_losses(pair, batch, click_data, config=config, step=0)
    take_step(pair, parts, optimisation, settings=config.distillation, step=0)

    other = click_optimisation(by_hand, config.distillation, steps=10)
    parts = step_losses(by_hand, batch, click_data, config=config, step=0)
    gradients = mixed_by_hand(by_hand, parts, config, beta)
    for name, parameter in by_hand.named_parameters():
        parameter.grad = gradients[name]
    other.step(0)
    expected = dict(by_hand.named_parameters())
    for name, parameter in pair.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-7, msg=name)
        # AdamW's first step is nearly the gradient's sign; its first moment is the gradient itself.
        ours = optimisation.adam.state[parameter]["exp_avg"]
        theirs = other.adam.state[expected[name]]["exp_avg"]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-8, msg=name)


def test_blocks_are_the_teacher_layers_a_student_layer_stands_for(make_pair: MakePair) -> None:
    """Six layers onto two: 1-3 and 4-6."""
    pair = make_pair(teacher_layers=6, student_layers=2)
    layers = transformer_layers(pair.teacher)
    assert teacher_blocks(pair) == [layers[:3], layers[3:]]


def test_mixing_averages_the_block_parameter_by_parameter(make_pair: MakePair) -> None:
    """Teacher gradients 1 and 3, own gradient 10, weight 0.1: 0.1 * 2 + 0.9 * 10 = 9.2."""
    pair = make_pair(teacher_layers=2, student_layers=1)
    for layer, value in zip(transformer_layers(pair.teacher), (1.0, 3.0), strict=True):
        fill_gradients(layer, value)
    fill_gradients(pair.student, 10.0)
    mix_teacher_gradients(pair, 0.1)
    for parameter in transformer_layers(pair.student)[0].parameters():
        assert_filled(parameter.grad, 9.2)
    for parameter in pair.student.news_encoder.dense.parameters():
        assert_filled(parameter.grad, 10.0)


def test_a_block_without_gradients_is_refused(make_pair: MakePair) -> None:
    """A student layer that is tuned while its block is frozen is a mistake."""
    pair = make_pair(teacher_layers=2, student_layers=1)
    fill_gradients(pair.student, 1.0)
    with pytest.raises(ValueError, match="tune whole blocks"):
        mix_teacher_gradients(pair, 0.1)


def fill_gradients(module: nn.Module, value: float) -> None:
    """Give every parameter the same gradient."""
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, value)


def assert_filled(gradient: Tensor | None, value: float) -> None:
    """Check that all entries have a value."""
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full_like(gradient, value))
