"""Heads: the stage that fits user encoder, click model and topic head to the encoder as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor

from training import losses
from training.batches import Batch, StepSizes, TaskRows, batches_per_epoch, epoch_batches
from training.central_encoding import Encoded, remembered
from training.config import Config, LossWeights
from training.device import device_of
from training.distill import TrainingData, needed_rows
from training.model.student import TeacherStudent
from training.optimisation import Optimisation
from training.run import Run
from training.tasks import task_losses, total_loss
from training.tuning import choose_click_terms, head_optimisation

STAGE = "heads"


def train_heads(pair: TeacherStudent, data: TrainingData, *, config: Config, run: Run) -> None:
    """Train the heads on the frozen encoder's outputs, which are computed once.

    It takes seconds, so a killed run does the whole stage again.
    """
    # Search has no head: its score is the inner product of what the encoder gives.
    rows = dataclasses.replace(data.rows, queries=())
    if not rows.clicks and not len(rows.topics.rows):
        return
    pair.student.requires_grad_(True)
    choose_click_terms(pair.student, config)
    outputs = remembered(pair.student, data.texts, needed_rows(rows), config)
    gold = gold_only(config)
    steps = config.heads.epochs * batches_per_epoch(rows, head_sizes(config))
    optimisation = head_optimisation(pair.student, config.heads, steps=steps)
    run.start_stage(STAGE, steps=steps, done=0)
    pair.student.train()
    for step, batch in enumerate(_batches(rows, config)):
        encoded = Encoded(outputs(batch.texts), None, {})
        parts = task_losses(pair, batch.to(device_of(pair)), encoded, config=gold)
        total = _take_step(step, parts, optimisation, gold)
        run.log(
            step,
            parts,
            news=len(batch.texts),
            examples=batch.examples,
            total=total,
            learning_rate=optimisation.learning_rate,
        )


def head_sizes(config: Config) -> StepSizes:
    """Return the step sizes of this stage: all skips, because nothing has to be encoded."""
    settings = config.distillation
    return StepSizes(
        clicks=config.heads.rows_per_step,
        negatives=0,
        topic_texts=settings.topic_texts_per_step,
        queries=1,
    )


def gold_only(config: Config) -> Config:
    """Return the configuration without any teacher: heads are fitted to what happened."""
    settings = dataclasses.replace(
        config.distillation, joint=False, momentum=0.0, weights=LossWeights()
    )
    return dataclasses.replace(config, distillation=settings)


def _batches(rows: TaskRows, config: Config) -> Iterator[Batch]:
    """Yield every epoch's batches, one epoch after the other."""
    sizes, seed = head_sizes(config), config.run.seed
    for epoch in range(config.heads.epochs):
        yield from epoch_batches(rows, sizes, seed=seed, epoch=epoch)


def _take_step(
    step: int, parts: Mapping[str, Tensor], optimisation: Optimisation, config: Config
) -> Tensor:
    """Go back through the losses and step; return what they add up to."""
    losses.check_finite(step, parts)
    total = total_loss(parts, config)
    optimisation.backward(total)
    optimisation.step(step)
    return total
