"""Joint teacher-student learning on clicks, with momentum distillation (paper, section 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from contract.article import Article
from contract.text import TextSpec
from training import losses
from training.batches import (
    ClickBatch,
    ClickRow,
    Rows,
    TokenTable,
    click_batches,
    restore_order,
)
from training.config import Config, DistillationConfig, LossWeights
from training.model.student import (
    Student,
    TeacherStudent,
    autocast,
    embedding_table,
    transformer_layers,
)
from training.momentum import mix_teacher_gradients, teacher_blocks
from training.optimisation import Optimisation, ParameterGroup, parameter_group
from training.resume import State
from training.run import Run

STAGE = "distillation"


@dataclass(frozen=True)
class ClickData:
    """Hold what the loop reads: tokens of all articles, rows of clicks, labelled topic texts."""

    articles: TokenTable
    rows: Sequence[ClickRow]
    topic_texts: TokenTable
    topic_numbers: Rows


def distill(
    pair: TeacherStudent, data: ClickData, *, config: Config, run: Run, state: State
) -> Iterator[int]:
    """Train teacher and student together; yield after each epoch, then save the state."""
    settings = config.distillation
    choose_tuned(pair, settings)
    per_epoch = -(-len(data.rows) // settings.rows_per_step)
    optimisation = click_optimisation(pair, settings, steps=per_epoch * settings.epochs)
    state.restore_optimiser(pair, optimisation)
    run.start_stage(STAGE, steps=per_epoch * settings.epochs, done=state.position.steps_done)
    for epoch in range(state.position.epochs_done + 1, settings.epochs + 1):
        first = (epoch - 1) * per_epoch
        for step, batch in enumerate(epoch_batches(data, config, epoch), start=first):
            if step < state.position.steps_done:
                continue
            pair.train()
            parts = step_losses(pair, batch, data, config=config, step=step)
            losses.check_finite(step, parts)
            take_step(pair, parts, optimisation, settings=settings, step=step)
            run.log(step, parts, news=len(batch.articles))
            run.save_if_due(step, model=pair, optimisation=optimisation)
        yield epoch
        run.finish_epoch(epoch, model=pair, optimisation=optimisation)


def take_step(
    pair: TeacherStudent,
    parts: Mapping[str, Tensor],
    optimisation: Optimisation,
    *,
    settings: DistillationConfig,
    step: int,
) -> None:
    """Go back through all losses at once, mix the teacher's gradients in, clip and step."""
    total_loss(parts, settings.weights).backward()  # type: ignore[no-untyped-call]  # torch
    mix_teacher_gradients(pair, settings.momentum)
    optimisation.step(step)


def epoch_batches(data: ClickData, config: Config, epoch: int) -> list[ClickBatch]:
    """Return an epoch's batches; they depend on seed and epoch alone."""
    return click_batches(
        data.rows,
        rows_per_step=config.distillation.rows_per_step,
        negatives_per_click=config.distillation.negatives_per_click,
        seed=config.run.seed,
        epoch=epoch,
    )


def step_losses(
    pair: TeacherStudent, batch: ClickBatch, data: ClickData, *, config: Config, step: int
) -> dict[str, Tensor]:
    """Return every loss of one step by name: the teacher's own and the student's parts."""
    settings = config.distillation
    encoded = encode_both(pair, data.articles, batch.articles, config=config)
    teacher_scores = click_scores(pair.teacher, encoded.teacher, batch)
    student_scores = click_scores(pair.student, encoded.student, batch)
    return {
        "teacher": losses.click_loss(teacher_scores, batch.candidate_mask),
        "click": losses.click_loss(student_scores, batch.candidate_mask),
        "distill": losses.soft_cross_entropy(
            student_scores,
            teacher_scores,
            batch.candidate_mask,
            temperature=settings.temperature,
        ),
        **encoded.losses,
        "topic": topic_step_loss(pair.student, data, config=config, step=step),
    }


def total_loss(parts: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """Add the teacher's loss and the student's weighted losses.

    One backward pass serves both models: no student loss reaches the teacher's own tensors.
    """
    student = [getattr(weights, f.name) * parts[f.name] for f in dataclasses.fields(weights)]
    return parts["teacher"] + torch.stack(student).sum()


@dataclass(frozen=True)
class Encoded:
    """Hold both models' vectors (N, D) of a batch and the losses between their states."""

    teacher: Tensor
    student: Tensor
    losses: dict[str, Tensor]


def encode_both(
    pair: TeacherStudent, table: TokenTable, articles: Rows, *, config: Config
) -> Encoded:
    """Encode each article once with both models, in chunks of like length."""
    chunks = list(table.chunks(articles, tokens_per_chunk=config.distillation.tokens_per_chunk))
    teacher, student, compared = [], [], []
    for chunk in chunks:
        ids, mask = table.tokens(articles[chunk])
        with autocast(config.run.precision):
            ours, theirs = (
                pair.student.news_encoder(ids, mask),
                pair.teacher.news_encoder(ids, mask),
            )
        student.append(ours.vector)
        teacher.append(theirs.vector)
        token_share = float(mask.sum()) / float(table.lengths[articles].sum())
        compared.append(
            {
                "embedding": token_share
                * losses.masked_mse(ours.embeddings, theirs.embeddings, mask),
                "hidden": token_share
                * losses.hidden_loss(ours.hidden_states, theirs.hidden_states, mask),
                "pooled": len(chunk)
                / len(articles)
                * losses.pooled_loss(ours.pooled, theirs.pooled),
            }
        )
    sums = {name: torch.stack([part[name] for part in compared]).sum() for name in compared[0]}
    return Encoded(restore_order(teacher, chunks), restore_order(student, chunks), sums)


def click_scores(model: Student, vectors: Tensor, batch: ClickBatch) -> Tensor:
    """Gather a batch's vectors (N, D) and return its scores (B, C)."""
    history, candidates = vectors[batch.history], vectors[batch.candidates]  # (B, H, D), (B, C, D)
    user = model.user_encoder(history, batch.history_mask)  # (B, D)
    scores: Tensor = model.click_model(user, history, batch.history_mask, candidates)
    return scores


def topic_step_loss(student: Student, data: ClickData, *, config: Config, step: int) -> Tensor:
    """Return the topic loss of this step's labelled texts; zero where there are none."""
    wanted = min(config.distillation.topic_texts_per_step, len(data.topic_texts))
    if not wanted:
        return torch.zeros(())
    random = np.random.default_rng((config.run.seed, step, len(data.topic_texts)))
    rows = random.choice(len(data.topic_texts), size=wanted, replace=False)
    with autocast(config.run.precision):
        pooled = student.news_encoder(*data.topic_texts.tokens(rows)).pooled
    return losses.topic_loss(student.topic_head(pooled), torch.from_numpy(data.topic_numbers[rows]))


def topic_examples(
    articles: Sequence[Article], topics: Sequence[str], spec: TextSpec
) -> tuple[list[str], list[int]]:
    """Return the labelled articles' texts without topic and subtopic, and their topic numbers."""
    numbers = {topic: number for number, topic in enumerate(topics)}
    labelled = [a for a in articles if a.topic in numbers and spec.topic_text(a)]
    return [spec.topic_text(a) for a in labelled], [numbers[a.topic] for a in labelled]


def choose_tuned(pair: TeacherStudent, settings: DistillationConfig) -> None:
    """Freeze what is not tuned: embeddings if so configured, and all but the top blocks."""
    pair.requires_grad_(True)
    for model in (pair.teacher, pair.student):
        embedding_table(model).requires_grad_(settings.tune_embeddings)
    blocks = list(zip(transformer_layers(pair.student), teacher_blocks(pair), strict=True))
    frozen = len(blocks) - settings.tuned_blocks if settings.tuned_blocks else 0
    for number, (layer, block) in enumerate(blocks):
        for module in (layer, *block):
            module.requires_grad_(number >= frozen)


def click_optimisation(
    pair: TeacherStudent, settings: DistillationConfig, *, steps: int
) -> Optimisation:
    """Put both backbones and every shared module into the optimiser, each part at its own rate."""
    rates, student = settings.learning_rates, pair.student
    encoder, click = student.news_encoder, student.click_model
    scalars: tuple[nn.Parameter, ...] = (click.scale, click.attention, click.temperature)
    groups = [
        parameter_group(
            "encoder", [encoder.backbone, pair.teacher.news_encoder.backbone], rates.encoder
        ),
        parameter_group("pooling", [encoder.pooling, encoder.dense], rates.pooling),
        parameter_group("user", [student.user_encoder], rates.user),
        parameter_group("topic", [student.topic_head], rates.topic),
        ParameterGroup("click", scalars, rates.click),
        # Decay keeps what articles are about from outweighing what the reader has read.
        ParameterGroup("content", (click.content,), rates.content, settings.content_decay),
    ]
    return Optimisation(groups, steps=steps, warmup_share=settings.warmup_share, clip=settings.clip)
