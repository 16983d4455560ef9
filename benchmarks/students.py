"""Students of one to six layers: the shipped one's, and those that are made to be timed only."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from contract.text import TextSpec
from training.checkpoint import StudentCheckpoint
from training.config import ModelConfig
from training.model import Student, build_backbone, build_student
from training.teacher import Teacher, load_teacher


def pretrained(source: str) -> Teacher:
    """Load all layers of a hub id or local folder; raise TeacherError where there is none."""
    return load_teacher(source, ModelConfig(), topics=1)


def mean_pooling_checkpoint(teacher: Teacher, spec: TextSpec) -> StudentCheckpoint:
    """Return a teacher as a student that pools by the mean and projects nothing.

    With a query of zeros additive attention weighs all tokens alike, so that the exporter makes its
    graph like any other; a query width of 1 and an identity cost next to nothing.
    """
    architecture = replace(teacher.architecture, dim=teacher.architecture.hidden, query_width=1)
    model = build_student(architecture, teacher.backbone)
    encoder = model.news_encoder
    with torch.no_grad():
        encoder.pooling.query.weight.zero_()
        encoder.dense.weight.copy_(torch.eye(architecture.hidden))
        encoder.dense.bias.zero_()
    return StudentCheckpoint(model.eval(), spec, teacher.tokenizer_json, ["-"])


def cut_from_teacher(teacher: Teacher, spec: TextSpec, *, layers: int) -> StudentCheckpoint:
    """Return a student of the teacher's first layers whose heads have learned nothing."""
    torch.manual_seed(0)
    model = build_student(teacher.architecture.with_layers(layers))
    _load(model.news_encoder.backbone, teacher.backbone.state_dict())
    return StudentCheckpoint(model.eval(), spec, teacher.tokenizer_json, ["-"])


def with_layers(
    checkpoint: StudentCheckpoint, layers: int, teacher: Teacher | None
) -> StudentCheckpoint:
    """Return a student with its first layers alone, or with the teacher's on top of all its own.

    Its speed is that of a trained one, as no time depends on weights; its vectors mean nothing.
    """
    own: Student = checkpoint.model
    backbone = build_backbone(own.architecture.with_layers(layers))
    known = own.news_encoder.backbone.state_dict()
    above = teacher.backbone.state_dict() if teacher is not None else {}
    _load(backbone, {**above, **known})
    return replace(checkpoint, model=own.with_backbone(backbone, layers=layers).eval())


def _load(backbone: nn.Module, state: Mapping[str, Tensor]) -> None:
    backbone.load_state_dict({name: state[name] for name in backbone.state_dict()})
