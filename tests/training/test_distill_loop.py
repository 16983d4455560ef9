"""The loop of joint learning: accumulation, precision, epochs, where it starts and why it stops."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import a_config, moved, only_weights, snapshot, tiny_clicks, unsettled
from training.config import Config
from training.distill import (
    TrainingData,
    distill,
    epoch_steps,
    fixed_teacher,
    step_sizes,
    steps_per_epoch,
    take_step,
)
from training.errors import NonFiniteLoss
from training.model import TeacherStudent
from training.progress import ProgressDisplay
from training.resume import State
from training.run import Run
from training.tuning import choose_tuned, joint_optimisation


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return four teacher layers and two student layers, away from their starting point."""
    return unsettled(make_pair())


def one_step(
    pair: TeacherStudent, data: TrainingData, config: Config
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Take the first step of an epoch; return its losses and AdamW's first moments by name.

    The first step is nearly the gradient's sign; the first moments are the gradient itself.
    """
    choose_tuned(pair, config)
    optimisation = joint_optimisation(pair, config, steps=10)
    # Low enough that this step's fp16 gradients do not overflow.
    optimisation.scaler = torch.amp.GradScaler(
        "cpu", init_scale=64.0, enabled=config.run.precision == "fp16"
    )
    (batches, *_) = epoch_steps(data, config, 1)
    losses = take_step(pair.train(), batches, data, optimisation, config=config, step=0)
    state = optimisation.adam.state
    return losses, {n: state[p]["exp_avg"] for n, p in pair.named_parameters() if state[p]}


def with_precision(precision: str, **distillation: Any) -> Config:
    """Return settings of a precision."""
    config = a_config(distillation=distillation)
    return replace(config, run=replace(config.run, precision=precision))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_accumulated_batches_equal_one_of_all_their_rows(pair: TeacherStudent, size: int) -> None:
    """The mix sees the mean of the batches' gradients."""
    common = {
        "negatives_per_click": 0,  # else each batch draws its own
        "momentum": 0.2,
        "clip": 1e6,  # else a sum of gradients would look like their mean
        "weights": only_weights(gold=1.0, distill=1.0),
    }
    data, twin = tiny_clicks(8), copy.deepcopy(pair)
    parts, whole = (
        a_config(distillation={**common, "rows_per_step": n, "accumulate": 8 // n})
        for n in (size, 8)
    )
    assert steps_per_epoch(data, parts) == steps_per_epoch(data, whole) == 1
    found, expected = one_step(pair, data, parts), one_step(twin, data, whole)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 4), (2, 2), (3, 2), (9, 1)])
def test_an_epoch_has_a_step_for_every_so_many_batches(
    data: TrainingData, accumulate: int, steps: int
) -> None:
    """Four batches; the last step takes what is left."""
    config = a_config(distillation={"accumulate": accumulate})
    found = list(epoch_steps(data, config, 1))
    assert len(found) == steps_per_epoch(data, config) == steps
    assert sum(len(batches) for batches in found) == 4


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_epoch_goes_on_with_the_next_step(data: TrainingData, accumulate: int) -> None:
    """Its batches are those that the uninterrupted epoch would have had."""
    config = a_config(distillation={"accumulate": accumulate})
    rest, whole = (list(epoch_steps(data, config, 1, done=done)) for done in (1, 0))
    wanted = [[batch.texts.tolist() for batch in step] for step in whole[1:]]
    assert [[batch.texts.tolist() for batch in step] for step in rest] == wanted


def test_the_sizes_of_a_batch_are_the_configured_ones() -> None:
    """One number for each task, and the negatives."""
    sizes = step_sizes(a_config(distillation={"negatives_per_click": 7}))
    assert (sizes.clicks, sizes.negatives, sizes.topic_texts, sizes.queries) == (6, 7, 6, 4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_takes_nearly_the_same_step(
    pair: TeacherStudent, data: TrainingData, precision: str
) -> None:
    """Gradients are unscaled before they are mixed and clipped; weights stay in fp32."""
    twin, before = copy.deepcopy(pair), snapshot(pair)
    losses, moments = one_step(pair, data, with_precision(precision, momentum=0.2))
    expected, exact = one_step(twin, data, with_precision("fp32", momentum=0.2))
    torch.testing.assert_close(losses, expected, atol=0.05, rtol=0.05)
    half, full = (torch.cat([m.flatten() for m in found.values()]) for found in (moments, exact))
    assert torch.nn.functional.cosine_similarity(half, full, dim=0) > 0.99
    torch.testing.assert_close(half.norm(), full.norm(), rtol=0.05, atol=0.0)
    assert {parameter.dtype for parameter in pair.parameters()} == {torch.float32}
    assert moved(pair, before) == set(before)


def run_of(tmp_path: Path, config: Config, silent: ProgressDisplay) -> Run:
    """Open a run."""
    run = Run(tmp_path / "run", config, teacher="tiny", progress=silent)
    run.begin({}, resume=False)
    return run


def test_an_epoch_is_yielded_when_its_steps_are_taken_and_saved_when_it_is_measured(
    pair: TeacherStudent, data: TrainingData, tmp_path: Path, silent: ProgressDisplay
) -> None:
    """Every step is recorded with all losses; the model is handed over between epochs."""
    config = a_config(distillation={"epochs": 2}, run={"save_every_steps": 1000})
    run, before = run_of(tmp_path, config, silent), snapshot(pair)
    epochs = distill(pair, data, config=config, run=run, state=State())
    assert next(epochs) == 1
    assert moved(pair, before)
    assert not (run.directory / "state.safetensors").exists()
    assert list(epochs) == [2]
    assert (run.directory / "state.safetensors").exists()
    assert [record["step"] for record in run.metrics()] == list(range(1, 9))
    assert all(record["search/distill"] > 0 for record in run.metrics())


def test_learning_together_lowers_every_loss_of_both_models(
    pair: TeacherStudent, data: TrainingData
) -> None:
    """Thirty steps on one batch of clicks, topics and queries."""
    rates = {"encoder": 3e-3, "pooling": 3e-3}
    config = a_config(distillation={"learning_rates": rates, "momentum": 0.1})
    optimisation = joint_optimisation(pair, config, steps=60)
    (batches, *_) = epoch_steps(data, config, 1)
    taken = [
        take_step(pair, batches, data, optimisation, config=config, step=step) for step in range(30)
    ]
    for name, loss in taken[0].items():
        if "distill" not in name:
            assert taken[-1][name] < 0.9 * loss, name


def test_a_loss_that_is_not_finite_stops_the_run_by_name_before_any_weight_moves(
    pair: TeacherStudent, data: TrainingData, tmp_path: Path, silent: ProgressDisplay
) -> None:
    """The step, and the losses that broke."""
    with torch.no_grad():
        pair.student.topic_head.linear.bias.fill_(torch.nan)
    before = snapshot(pair)
    run = run_of(tmp_path, a_config(), silent)
    message = "step 1: topics/gold, topics/teacher, topics/distill is not finite"
    with pytest.raises(NonFiniteLoss, match=message):
        next(distill(pair, data, config=a_config(), run=run, state=State()))
    assert {name for name in moved(pair, before) if "topic_head" not in name} == set()


def test_a_fixed_teacher_stays_in_evaluation_mode(
    pair: TeacherStudent, data: TrainingData, tmp_path: Path, silent: ProgressDisplay
) -> None:
    """What it says of a text must not depend on chance."""
    config = a_config(distillation={"joint": False, "epochs": 1})
    next(distill(pair, data, config=config, run=run_of(tmp_path, config, silent), state=State()))
    assert pair.student.news_encoder.backbone.training
    assert not pair.teacher.news_encoder.backbone.training
    assert fixed_teacher(pair, data, config) is None
