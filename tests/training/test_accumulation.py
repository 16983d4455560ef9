"""Accumulation: the gradients of several batches are averaged, and then they make one step."""

import copy
from collections.abc import Callable, Sequence
from itertools import islice

import pytest
import torch
from torch import Tensor

from tests.tiny import a_batch, a_distillation, snapshot, unsettled
from training.batches import Batch
from training.config import Config
from training.distill import TrainingData, epoch_steps, step_losses, steps_per_epoch, take_step
from training.model import TeacherStudent
from training.model.student import transformer_layers
from training.momentum import mix_teacher_gradients
from training.optimisation import Optimisation
from training.tasks import total_loss
from training.tuning import joint_optimisation

BETA = 0.3
WEIGHT = "attention.output.dense.weight"


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return four teacher layers and two student layers, away from their starting point."""
    return unsettled(make_pair()).train()


@pytest.fixture
def config() -> Config:
    """Mix, and clip nothing, so that Adam's first moments are a tenth of the gradients."""
    return a_distillation(momentum=BETA, accumulate=2, clip=1e9)


@pytest.fixture
def halves(config: Config) -> tuple[Batch, Batch]:
    """Return two different batches."""
    return a_batch(config, epoch=1), a_batch(config, epoch=2)


def stepped(
    pair: TeacherStudent, batches: Sequence[Batch], data: TrainingData, config: Config
) -> tuple[Optimisation, dict[str, Tensor]]:
    """Take the first of ten steps; return the optimisation and the losses."""
    optimisation = joint_optimisation(pair, config, steps=10)
    return optimisation, take_step(pair, batches, data, optimisation, config=config, step=0)


def gradients(
    pair: TeacherStudent, batch: Batch, data: TrainingData, config: Config
) -> tuple[Tensor, list[Tensor]]:
    """Return one weight's gradient in the first student layer and in its two teacher layers."""
    loss = total_loss(step_losses(pair, batch, data, config=config), config)
    layers = [transformer_layers(pair.student)[0], *transformer_layers(pair.teacher)[:2]]
    found = torch.autograd.grad(loss, [layer.get_parameter(WEIGHT) for layer in layers])
    return found[0], list(found[1:])


def test_the_mix_sees_the_mean_of_the_accumulated_gradients(
    pair: TeacherStudent, data: TrainingData, config: Config, halves: tuple[Batch, Batch]
) -> None:
    """Worked out from six gradients: two batches, a student layer and its block of two."""
    (own_a, block_a), (own_b, block_b) = (gradients(pair, b, data, config) for b in halves)
    own = (own_a + own_b) / 2
    block = (block_a[0] + block_a[1] + block_b[0] + block_b[1]) / 4
    optimisation, _ = stepped(pair, halves, data, config)
    weight = transformer_layers(pair.student)[0].get_parameter(WEIGHT)
    moment = optimisation.adam.state[weight]["exp_avg"]
    torch.testing.assert_close(
        moment, 0.1 * (BETA * block + (1 - BETA) * own), rtol=1e-4, atol=1e-8
    )


def test_two_half_batches_equal_one_backward_pass_over_their_mean(
    pair: TeacherStudent, data: TrainingData, config: Config, halves: tuple[Batch, Batch]
) -> None:
    """Every first moment, of both models and of what they share."""
    at_once = copy.deepcopy(pair)
    optimisation, _ = stepped(pair, halves, data, config)
    other = joint_optimisation(at_once, config, steps=10)
    losses = [
        total_loss(step_losses(at_once, half, data, config=config), config) for half in halves
    ]
    other.backward(torch.stack(losses).mean())
    mix_teacher_gradients(at_once, BETA)
    other.step(0)
    for (name, ours), theirs in zip(pair.named_parameters(), at_once.parameters(), strict=True):
        if ours in optimisation.adam.state:
            found, expected = (o.adam.state[p]["exp_avg"] for o, p in
                               ((optimisation, ours), (other, theirs)))  # fmt: skip
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7, msg=name)


def test_the_same_batch_twice_is_the_batch_once(
    pair: TeacherStudent, data: TrainingData, config: Config, halves: tuple[Batch, Batch]
) -> None:
    """Gradients are averaged, not added up: so are the losses that are reported."""
    again = copy.deepcopy(pair)
    _, once = stepped(pair, halves[:1], data, config)
    _, twice = stepped(again, (halves[0], halves[0]), data, config)
    torch.testing.assert_close(twice, once)
    torch.testing.assert_close(snapshot(again), snapshot(pair), rtol=1e-5, atol=1e-7)


def test_reported_losses_are_means_over_the_batches(
    pair: TeacherStudent, data: TrainingData, config: Config, halves: tuple[Batch, Batch]
) -> None:
    """By name, over those of the batches alone."""
    first, second = (step_losses(pair, half, data, config=config) for half in halves)
    _, reported = stepped(pair, halves, data, config)
    expected = {name: (first[name] + second[name]).detach() / 2 for name in first}
    torch.testing.assert_close(reported, expected)


def test_an_epochs_last_step_takes_what_is_left(data: TrainingData) -> None:
    """Four batches, three to a step: three and one; a step begins where the one before ended."""
    config = a_distillation(accumulate=3)
    whole = list(epoch_steps(data, config, 1))
    assert [len(step) for step in whole] == [3, 1]
    assert steps_per_epoch(data, config) == 2
    rest = list(epoch_steps(data, config, 1, done=1))
    singles = [step[0] for step in epoch_steps(data, a_distillation(), 1)]
    for found, expected in zip([*whole[0], *rest[0]], singles, strict=True):
        assert found.texts.tolist() == expected.texts.tolist()
    assert len(list(islice(rest, 2))) == 1
