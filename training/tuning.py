"""Tuning: which parameters learn, and at what rate."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from training.config import Config, DistillationConfig, HeadConfig, LearningRates
from training.model.student import (
    Student,
    TeacherStudent,
    embedding_table,
    transformer_layers,
)
from training.momentum import teacher_blocks
from training.optimisation import Optimisation, ParameterGroup, parameter_group


def choose_tuned(pair: TeacherStudent, config: Config) -> None:
    """Freeze what is not tuned: embeddings if so configured, and all but the top blocks.

    A fixed teacher is frozen whole, and so are the terms of the click model that are off.
    """
    settings = config.distillation
    pair.requires_grad_(True)
    for model in (pair.teacher, pair.student):
        embedding_table(model).requires_grad_(settings.tune_embeddings)
    blocks = list(zip(transformer_layers(pair.student), teacher_blocks(pair), strict=True))
    frozen = len(blocks) - settings.tuned_blocks if settings.tuned_blocks else 0
    for number, (layer, block) in enumerate(blocks):
        for module in (layer, *block):
            module.requires_grad_(number >= frozen)
    if not settings.joint:
        pair.teacher.requires_grad_(False)
        own = pair.student.news_encoder
        for module in (own.pooling, own.dense, *_heads(pair.student)):
            module.requires_grad_(True)
    choose_click_terms(pair.student, config)


def choose_click_terms(student: Student, config: Config) -> None:
    """Set the terms of the click model that are off to zero, and freeze them there."""
    click = student.click_model
    with torch.no_grad():
        click.attention.mul_(config.model.candidate_aware)
        click.content.mul_(config.model.content_term)
    click.attention.requires_grad_(config.model.candidate_aware)
    click.temperature.requires_grad_(config.model.candidate_aware)
    click.content.requires_grad_(config.model.content_term)


def joint_optimisation(pair: TeacherStudent, config: Config, *, steps: int) -> Optimisation:
    """Put both backbones and every shared module into the optimiser, each part at its own rate."""
    settings = config.distillation
    rates, encoder = settings.learning_rates, pair.student.news_encoder
    groups = [
        *_backbone_groups(pair, settings),
        parameter_group("pooling", [encoder.pooling, encoder.dense], rates.pooling),
        *_head_groups(pair.student, rates, settings.content_decay),
    ]
    return Optimisation(
        groups,
        steps=steps,
        warmup_share=settings.warmup_share,
        clip=settings.clip,
        scaled=config.run.precision == "fp16",
    )


def head_optimisation(student: Student, settings: HeadConfig, *, steps: int) -> Optimisation:
    """Put the heads alone into the optimiser."""
    groups = list(_head_groups(student, settings, settings.content_decay))
    return Optimisation(groups, steps=steps, warmup_share=0.0, clip=1.0)


def _backbone_groups(
    pair: TeacherStudent, settings: DistillationConfig
) -> Iterator[ParameterGroup]:
    """Group a student layer with its teacher block; lower ones learn at a decayed rate."""
    rate, decay = settings.learning_rates.encoder, settings.block_decay
    layers = transformer_layers(pair.student)
    tables = [embedding_table(pair.student), embedding_table(pair.teacher)]
    yield parameter_group("embeddings", tables, rate * decay ** len(layers))
    for number, (layer, block) in enumerate(zip(layers, teacher_blocks(pair), strict=True), 1):
        share = decay ** (len(layers) - number)
        yield parameter_group(f"block {number}", [layer, *block], rate * share)


def _head_groups(
    student: Student, rates: LearningRates | HeadConfig, content_decay: float
) -> Iterator[ParameterGroup]:
    click = student.click_model
    scalars = (click.scale, click.attention, click.temperature)
    yield parameter_group("user", [student.user_encoder], rates.user)
    yield parameter_group("topic", [student.topic_head], rates.topic)
    yield ParameterGroup("click", tuple(p for p in scalars if p.requires_grad), rates.click)
    # Decay keeps what articles are about from outweighing what the reader has read.
    content = (click.content,) if click.content.requires_grad else ()
    yield ParameterGroup("content", content, rates.content, content_decay)


def _heads(student: Student) -> tuple[nn.Module, ...]:
    return student.user_encoder, student.click_model, student.topic_head
