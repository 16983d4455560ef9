"""Momentum distillation: one real step against the same step mixed by hand."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import a_batch, a_config, unsettled
from training.config import Config
from training.distill import TrainingData, step_losses, take_step
from training.model import TeacherStudent
from training.model.student import transformer_layers
from training.momentum import mix_teacher_gradients, teacher_blocks
from training.tasks import total_loss
from training.tuning import joint_optimisation

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
    pair: TeacherStudent, parts: Mapping[str, Tensor], config: Config, block: int
) -> dict[str, Tensor]:
    """Add up two separate backward passes and mix each student layer with its teacher layers."""
    beta = config.distillation.momentum
    own = total_loss({n: part for n, part in parts.items() if n.endswith("/teacher")}, config)
    teacher = gradients_of(own, pair)
    student = gradients_of(total_loss(parts, config) - own, pair)
    mixed = {name: teacher[name] + student[name] for name in teacher}
    for name, own_gradient in student.items():
        if ".encoder.layer." in name and name.startswith("student."):
            head, tail = name.removeprefix("student.").split(".layer.")
            number, rest = tail.split(".", 1)
            layers = range(int(number) * block, (int(number) + 1) * block)
            gradients = [teacher[f"teacher.{head}.layer.{layer}.{rest}"] for layer in layers]
            mixed[name] = beta * sum(gradients, torch.zeros(())) / block + (1 - beta) * own_gradient
    return mixed


@pytest.mark.parametrize(
    ("beta", "layers", "student_layers"),
    [(0.0, 4, 2), (0.1, 4, 2), (0.3, 6, 1), (0.15, 6, 2), (0.15, 6, 3), (1.0, 4, 2)],
)
def test_one_step_equals_the_hand_mixed_step(
    make_pair: MakePair, data: TrainingData, beta: float, layers: int, student_layers: int
) -> None:
    """Every parameter, all tasks on, after clipping and AdamW; 0 is a step without momentum."""
    weights = {"gold": 0.5, "hidden": 0.1}
    config = a_config(tasks={"topics": 0.3}, distillation={"momentum": beta, "weights": weights})
    pair = unsettled(make_pair(teacher_layers=layers, student_layers=student_layers))
    by_hand = copy.deepcopy(pair)
    batch = a_batch(config)

    optimisation = joint_optimisation(pair, config, steps=10)
    take_step(pair, [batch], data, optimisation, config=config, step=0)

    other = joint_optimisation(by_hand, config, steps=10)
    parts = step_losses(by_hand, batch, data, config=config)
    gradients = mixed_by_hand(by_hand, parts, config, layers // student_layers)
    for name, parameter in by_hand.named_parameters():
        parameter.grad = gradients[name]
    other.step(0)
    expected = dict(by_hand.named_parameters())
    for name, parameter in pair.named_parameters():
        # AdamW's first step is nearly the gradient's sign, also where a gradient is 0 but for
        # rounding (attention does not see the bias of its keys); its first moment is the gradient.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-6, msg=name)
        ours = optimisation.adam.state[parameter]["exp_avg"]
        theirs = other.adam.state[expected[name]]["exp_avg"]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-8, msg=name)


@pytest.mark.parametrize(("layers", "student_layers"), [(6, 1), (6, 2), (6, 3), (8, 4)])
def test_blocks_are_the_teacher_layers_a_student_layer_stands_for(
    make_pair: MakePair, layers: int, student_layers: int
) -> None:
    """In order, of equal size, each teacher layer in one: six layers onto two are 1-3 and 4-6."""
    pair = make_pair(teacher_layers=layers, student_layers=student_layers)
    blocks = teacher_blocks(pair)
    assert {len(block) for block in blocks} == {layers // student_layers}
    assert [layer for block in blocks for layer in block] == transformer_layers(pair.teacher)


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
