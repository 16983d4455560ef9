"""Optimisation: schedule, clipping, groups."""

import pytest
import torch
from torch import nn

from training.optimisation import (
    Optimisation,
    ParameterGroup,
    learning_rate_factor,
    parameter_group,
)


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    """Ten steps, two of them warm-up."""
    factors = [learning_rate_factor(n, steps=10, warmup=2) for n in range(11)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5)
    assert factors[9:] == [pytest.approx(0.125), 0.0]


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_a_warm_up_of_no_step_begins_at_the_full_rate(share: float) -> None:
    """The first step is never lost."""
    parameter, optimisation = an_optimisation(clip=1.0, warmup_share=share)
    parameter.grad = torch.tensor([1.0])
    optimisation.step(0)
    assert optimisation.learning_rate == pytest.approx(0.1)


def an_optimisation(
    clip: float, *, warmup_share: float = 0.1, scaled: bool = False
) -> tuple[nn.Parameter, Optimisation]:
    """Train one number at rate 0.1."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    group = ParameterGroup("only", (parameter,), 0.1)
    return parameter, Optimisation(
        [group], steps=10, warmup_share=warmup_share, clip=clip, scaled=scaled
    )


def test_gradients_are_clipped_before_the_step() -> None:
    """A gradient of norm 4 enters AdamW as 0.5."""
    parameter, optimisation = an_optimisation(clip=0.5)
    parameter.grad = torch.tensor([4.0])
    optimisation.step(0)
    moment = optimisation.adam.state[parameter]["exp_avg"]
    assert moment.item() == pytest.approx(0.1 * 0.5, rel=1e-4)
    assert parameter.item() == pytest.approx(0.9, rel=1e-4)
    assert parameter.grad is None


def test_fp16_gradients_are_scaled_and_clipped_as_they_are() -> None:
    """Scaled while they are made, as in fp32 once they are unscaled."""
    parameter, optimisation = an_optimisation(clip=0.5, scaled=True)
    optimisation.backward((4.0 * parameter).sum())
    assert parameter.grad is not None
    assert parameter.grad.item() == 4.0 * 65536.0
    optimisation.unscale()
    assert parameter.grad.item() == 4.0
    optimisation.step(0)
    assert parameter.item() == pytest.approx(0.9, rel=1e-4)


def test_a_step_whose_scaled_gradients_overflow_is_left_out() -> None:
    """Nothing moves, the scale is halved, and the next step is taken."""
    parameter, optimisation = an_optimisation(clip=0.5, scaled=True)
    optimisation.backward((torch.inf * parameter).sum())
    optimisation.unscale()
    optimisation.step(0)
    assert parameter.item() == 1.0
    assert parameter.grad is None
    assert optimisation.scaler.get_scale() == 32768.0
    optimisation.backward(parameter.sum())
    optimisation.unscale()
    optimisation.step(1)
    assert parameter.item() < 1.0


def test_a_group_holds_what_is_trainable_and_an_empty_one_is_left_out() -> None:
    """Frozen parameters are not the optimiser's business."""
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    group = parameter_group("layer", [layer], 0.1)
    assert group.parameters == (layer.weight,)
    layer.weight.requires_grad_(False)
    empty = parameter_group("layer", [layer], 0.1)
    optimisation = Optimisation([group, empty], steps=1, warmup_share=0.0, clip=1.0)
    assert len(optimisation.adam.param_groups) == 1
