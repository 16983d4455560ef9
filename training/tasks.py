"""Tasks: the scores and losses of recommendation, topics and search for one batch.

Each task has the teacher's own loss on what really happened ("teacher"), the student's ("gold") and
the student's distance to the teacher's predictions ("distill"); a loss is named "task/part".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from training import losses
from training.batches import Batch, ClickBatch
from training.central_encoding import Encoded, Outputs
from training.config import Config
from training.model.student import Student, TeacherStudent

# One task's predictions for a batch: scores (rows, choices) and the mask of real choices.
Predict = Callable[[Student, Outputs], Tensor]
Gold = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Task:
    """Hold how a task predicts from a model's outputs, what it loses, and which choices exist."""

    name: str
    predict: Predict
    gold: Gold
    mask: Tensor


def task_losses(
    pair: TeacherStudent, batch: Batch, encoded: Encoded, *, config: Config
) -> dict[str, Tensor]:
    """Return the losses of every task in the batch by name."""
    parts: dict[str, Tensor] = {}
    for task in tasks_of(batch, config):
        ours = task.predict(pair.student, encoded.student)
        if config.distillation.weights.gold:
            parts[f"{task.name}/gold"] = task.gold(ours)
        if encoded.teacher is None:
            continue
        theirs = task.predict(pair.teacher, encoded.teacher)
        if config.distillation.joint:
            parts[f"{task.name}/teacher"] = task.gold(theirs)
        if config.distillation.weights.distill:
            parts[f"{task.name}/distill"] = losses.soft_cross_entropy(
                ours, theirs, task.mask, temperature=config.distillation.temperature
            )
    return parts


def total_loss(parts: Mapping[str, Tensor], config: Config) -> Tensor:
    """Add up the teacher's losses and the student's, each at its weight.

    One backward pass serves both models: no student loss reaches the teacher's own tensors.
    """
    return torch.stack([weight_of(name, config) * part for name, part in parts.items()]).sum()


def weight_of(name: str, config: Config) -> float:
    """Return the weight of a loss: of its task times of its part, or of the states it compares."""
    weights = config.distillation.weights
    task, _, part = name.rpartition("/")
    if not task:
        return float(getattr(weights, part))
    of_part = 1.0 if part == "teacher" else float(getattr(weights, part))
    return float(getattr(config.tasks, task)) * of_part


def tasks_of(batch: Batch, config: Config) -> Iterator[Task]:
    """Yield the tasks that a batch has rows of."""
    clicks, topics, queries = batch.clicks, batch.topics, batch.queries
    if clicks is not None:
        yield Task(
            "recommendation",
            lambda model, out: click_scores(model, out.vectors, clicks),
            lambda scores: losses.click_loss(scores, clicks.candidate_mask),
            clicks.candidate_mask,
        )
    if topics is not None:
        yield Task(
            "topics",
            lambda model, out: model.topic_head(out.pooled[topics.texts]),
            lambda logits: losses.topic_loss(logits, topics.numbers, topics.members),
            topics.members,
        )
    if queries is not None:
        temperature = config.distillation.search_temperature
        yield Task(
            "search",
            lambda _, out: (
                out.vectors[queries.queries] @ out.vectors[queries.articles].T / temperature
            ),
            lambda scores: losses.in_batch_loss(scores, queries.mask),
            queries.mask,
        )


def click_scores(model: Student, vectors: Tensor, batch: ClickBatch) -> Tensor:
    """Gather a batch's vectors (N, D) and return its scores (B, C)."""
    history, candidates = vectors[batch.history], vectors[batch.candidates]  # (B, H, D), (B, C, D)
    user = model.user_encoder(history, batch.history_mask)  # (B, D)
    scores: Tensor = model.click_model(user, history, batch.history_mask, candidates)
    return scores
