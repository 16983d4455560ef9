"""Student: the whole model that ships, and the teacher's view of its shared parts."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from training.errors import DepthMismatch
from training.model.architecture import Architecture, build_backbone
from training.model.attention import AdditiveAttention
from training.model.click_model import ClickModel
from training.model.news_encoder import NewsEncoder
from training.model.topic_head import TopicHead
from training.model.user_encoder import UserEncoder


class Student(nn.Module):
    """Join the news encoder, user encoder, click model and topic head."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        news_encoder: NewsEncoder,
        user_encoder: UserEncoder,
        click_model: ClickModel,
        topic_head: TopicHead,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.news_encoder = news_encoder
        self.user_encoder = user_encoder
        self.click_model = click_model
        self.topic_head = topic_head

    def topic_logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, topics) of texts that must not contain topic or subtopic."""
        logits: Tensor = self.topic_head(self.news_encoder(ids, mask).pooled)
        return logits

    def with_backbone(self, backbone: nn.Module, *, layers: int) -> Student:
        """Return a model with another backbone that shares every other module with this one."""
        return Student(
            self.architecture.with_layers(layers),
            news_encoder=NewsEncoder(backbone, self.news_encoder.pooling, self.news_encoder.dense),
            user_encoder=self.user_encoder,
            click_model=self.click_model,
            topic_head=self.topic_head,
        )


def build_student(architecture: Architecture, backbone: nn.Module | None = None) -> Student:
    """Build a student; without a backbone its transformer has random weights."""
    hidden, dim, width = architecture.hidden, architecture.dim, architecture.query_width
    return Student(
        architecture,
        news_encoder=NewsEncoder(
            backbone or build_backbone(architecture),
            AdditiveAttention(hidden, width),
            nn.Linear(hidden, dim),
        ),
        user_encoder=UserEncoder(dim, width),
        click_model=ClickModel(dim),
        topic_head=TopicHead(hidden, architecture.topics),
    )


class TeacherStudent(nn.Module):
    """Hold the two models that learn together: two backbones, one of everything else.

    A teacher that learns no more is a whole model of its own.
    """

    def __init__(self, student: Student, teacher: Student) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher

    @property
    def layers_per_block(self) -> int:
        """Return K: how many teacher layers one student layer stands for."""
        return self.teacher.architecture.layers // self.student.architecture.layers


def pair_with_teacher(
    architecture: Architecture, teacher_backbone: nn.Module, *, student_layers: int
) -> TeacherStudent:
    """Start the student from the teacher's embeddings and first layers, in tables of its own.

    `architecture` is the teacher's; a depth that does not divide it raises DepthMismatch.
    """
    if architecture.layers % student_layers:
        raise DepthMismatch(teacher_layers=architecture.layers, student_layers=student_layers)
    student = build_student(architecture.with_layers(student_layers))
    backbone = student.news_encoder.backbone
    first_layers = teacher_backbone.state_dict()
    backbone.load_state_dict({name: first_layers[name] for name in backbone.state_dict()})
    teacher = student.with_backbone(teacher_backbone, layers=architecture.layers)
    return TeacherStudent(student, teacher)


def transformer_layers(model: Student) -> list[nn.Module]:
    """Return the transformer layers of a model's backbone, lowest first."""
    # Any: BERT and RoBERTa both keep `encoder.layer`, but nn.Module cannot say so.
    backbone: Any = model.news_encoder.backbone
    return list(backbone.encoder.layer)


def embedding_table(model: Student) -> nn.Module:
    """Return the embedding module of a model's backbone."""
    backbone: Any = model.news_encoder.backbone
    embeddings: nn.Module = backbone.embeddings
    return embeddings


def count_parameters(module: nn.Module) -> int:
    """Count distinct parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
