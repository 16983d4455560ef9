"""Optimisation: schedule, clipping, groups."""

import pytest
import torch
from torch import nn

from training.optimisation import Optimisation, ParameterGroup, learning_rate_factor


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    """Ten steps, two of them warm-up."""
    factors = [learning_rate_factor(n, steps=10, warmup=2) for n in range(11)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5)
    assert factors[9:] == [pytest.approx(0.125), 0.0]


def an_optimisation(clip: float) -> tuple[nn.Parameter, Optimisation]:
    """Train one number at rate 0.1."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    group = ParameterGroup("only", (parameter,), 0.1)
    return parameter, Optimisation([group], steps=10, warmup_share=0.1, clip=clip)


def test_gradients_are_clipped_before_the_step() -> None:
    """A gradient of norm 4 enters AdamW as 0.5; the norm before clipping is returned."""
    parameter, optimisation = an_optimisation(clip=0.5)
    parameter.grad = torch.tensor([4.0])
    assert optimisation.step(0) == pytest.approx(4.0)
    moment = optimisation.adam.state[parameter]["exp_avg"]
    assert moment.item() == pytest.approx(0.1 * 0.5, rel=1e-4)
    assert parameter.item() == pytest.approx(0.9, rel=1e-4)
    assert parameter.grad is None
