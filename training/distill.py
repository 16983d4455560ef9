"""Joint teacher-student learning with momentum distillation (paper, section 3), for three tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from training import losses, parallel
from training.batches import (
    Batch,
    ClickRow,
    StepSizes,
    TaskRows,
    batches_per_epoch,
    epoch_batches,
)
from training.central_encoding import (
    TeacherOutputs,
    compares_states,
    encode_batch,
    remembered,
)
from training.click_log_rows import ClickRows
from training.config import Config
from training.device import device_of
from training.following import Follower
from training.model.student import TeacherStudent
from training.momentum import mix_teacher_gradients
from training.optimisation import Optimisation
from training.resume import State
from training.run import Run
from training.tasks import task_losses, total_loss
from training.token_table import Rows, TokenTable
from training.tuning import choose_tuned, joint_optimisation

STAGE = "distillation"


@dataclass(frozen=True)
class TrainingData:
    """Hold what the loop reads: every text's tokens, and the rows of every task."""

    texts: TokenTable
    rows: TaskRows


def distill(
    pair: TeacherStudent, data: TrainingData, *, config: Config, run: Run | Follower, state: State
) -> Iterator[int]:
    """Train teacher and student together; yield after each epoch, then save the state."""
    settings = config.distillation
    choose_tuned(pair, config)
    fixed = fixed_teacher(pair, data, config)
    per_epoch = steps_per_epoch(data, config)
    optimisation = joint_optimisation(pair, config, steps=per_epoch * settings.epochs)
    state.restore_optimiser(pair, optimisation)
    run.start_stage(STAGE, steps=per_epoch * settings.epochs, done=state.position.steps_done)
    for epoch in range(state.position.epochs_done + 1, settings.epochs + 1):
        if parallel.as_the_first_decides(run.should_stop()):
            return
        first = (epoch - 1) * per_epoch
        done = max(0, state.position.steps_done - first)
        steps = epoch_steps(data, config, epoch, done=done)
        for step, batches in enumerate(steps, start=first + done):
            parallel.seed_step(config.run.seed, step)
            pair.train()
            pair.teacher.train(settings.joint)
            parts = take_step(
                pair, batches, data, optimisation, config=config, step=step, fixed=fixed
            )
            run.log(
                step,
                parts,
                news=sum(len(batch.texts) for batch in batches),
                examples=sum(batch.examples for batch in batches),
                total=total_loss(parts, config),
                learning_rate=optimisation.learning_rate,
            )
            run.save_if_due(step, model=pair, optimisation=optimisation)
        yield epoch
        run.finish_epoch(epoch, model=pair, optimisation=optimisation)


def take_step(
    pair: TeacherStudent,
    batches: Sequence[Batch],
    data: TrainingData,
    optimisation: Optimisation,
    *,
    config: Config,
    step: int,
    fixed: TeacherOutputs | None = None,
) -> dict[str, Tensor]:
    """Go back through all losses, mix the teacher's gradients in, clip and step.

    Gradients of several batches, and of several processes, are averaged first: the mix sees their
    mean. Returns the mean of each loss by name.
    """
    sums: dict[str, Tensor] = {}
    for batch in batches:
        parts = step_losses(pair, batch, data, config=config, fixed=fixed)
        losses.check_finite(step, parts)
        optimisation.backward(total_loss(parts, config) / len(batches))
        for name, part in parts.items():
            sums[name] = sums.get(name, torch.zeros(())) + part.detach() / len(batches)
    parallel.average_gradients(optimisation.parameters)
    optimisation.unscale()
    mix_teacher_gradients(pair, config.distillation.momentum)
    optimisation.step(step)
    return sums


def step_losses(
    pair: TeacherStudent,
    batch: Batch,
    data: TrainingData,
    *,
    config: Config,
    fixed: TeacherOutputs | None = None,
) -> dict[str, Tensor]:
    """Return every loss of a batch by name: both models' own, and the student's to the teacher."""
    batch = batch.to(device_of(pair))
    encoded = encode_batch(pair, data.texts, batch.texts, config=config, fixed=fixed)
    return {**task_losses(pair, batch, encoded, config=config), **encoded.losses}


def steps_per_epoch(data: TrainingData, config: Config) -> int:
    """Return how many optimiser steps an epoch has."""
    return -(-batches_per_epoch(data.rows, step_sizes(config)) // config.distillation.accumulate)


def epoch_steps(
    data: TrainingData, config: Config, epoch: int, *, done: int = 0
) -> Iterator[tuple[Batch, ...]]:
    """Yield each step's batches, after the steps that are done; seed and epoch fix them all."""
    settings = config.distillation
    batches = epoch_batches(
        data.rows,
        step_sizes(config),
        seed=config.run.seed,
        epoch=epoch,
        distinct=settings.central_encoding,
        first=done * settings.accumulate,
    )
    return _batched(batches, settings.accumulate)


def step_sizes(config: Config) -> StepSizes:
    """Return how many rows of each task meet in a batch."""
    settings = config.distillation
    return StepSizes(
        clicks=settings.rows_per_step,
        negatives=settings.negatives_per_click,
        topic_texts=settings.topic_texts_per_step,
        queries=settings.queries_per_step,
    )


def fixed_teacher(
    pair: TeacherStudent, data: TrainingData, config: Config
) -> TeacherOutputs | None:
    """Encode everything once with a teacher that learns no more, where any loss asks for it."""
    # Hidden states are too large to be kept: where they are compared, each step encodes again.
    compared = compares_states(config.distillation.weights)
    if config.distillation.joint or compared or not needs_teacher(config):
        return None
    return remembered(pair.teacher, data.texts, needed_rows(data.rows), config)


def needs_teacher(config: Config) -> bool:
    """Tell whether any loss asks for what the teacher makes of a text."""
    weights = config.distillation.weights
    return config.distillation.joint or bool(
        weights.distill or weights.pooled or compares_states(weights)
    )


def needed_rows(rows: TaskRows) -> Rows:
    """Return the distinct rows of the token table that any task reads."""
    queries = [n for row in rows.queries for n in (row.query, *row.relevant)]
    parts = (_read_by(rows.clicks), np.asarray(queries, np.int64), rows.topics.rows)
    return np.unique(np.concatenate(parts))


def _read_by(clicks: Sequence[ClickRow]) -> Rows:
    if isinstance(clicks, ClickRows):  # perhaps millions: not one by one
        return clicks.articles()
    read = (n for row in clicks for n in (row.click, *row.skips, *row.history))
    return np.fromiter(read, np.int64)


def _batched(batches: Iterator[Batch], size: int) -> Iterator[tuple[Batch, ...]]:
    while step := tuple(islice(batches, size)):
        yield step
