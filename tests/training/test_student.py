"""Student and teacher: what they share and what they do not."""

from collections.abc import Callable

import pytest
import torch

from training.errors import DepthMismatch
from training.model import TeacherStudent
from training.model.student import count_parameters, embedding_table, transformer_layers

MakePair = Callable[..., TeacherStudent]


def test_a_depth_that_does_not_divide_is_refused_by_name(make_pair: MakePair) -> None:
    """Three layers cannot stand for four, nor more for fewer; the message has both depths."""
    for teacher, student in ((4, 3), (6, 4), (6, 5), (2, 4)):
        message = f"{student} layers does not divide a teacher of {teacher}"
        with pytest.raises(DepthMismatch, match=message):
            make_pair(teacher_layers=teacher, student_layers=student)


@pytest.mark.parametrize(
    ("layers", "student_layers", "per_block"), [(6, 1, 6), (6, 2, 3), (6, 3, 2), (8, 4, 2)]
)
def test_the_student_starts_from_the_first_layers(
    make_pair: MakePair, layers: int, student_layers: int, per_block: int
) -> None:
    """Embeddings and the first N layers have the teacher's values, in tables of their own."""
    pair = make_pair(teacher_layers=layers, student_layers=student_layers)
    assert len(transformer_layers(pair.student)) == pair.student.architecture.layers
    assert pair.layers_per_block == per_block
    for ours, theirs in zip(
        [embedding_table(pair.student), *transformer_layers(pair.student)],
        [embedding_table(pair.teacher), *transformer_layers(pair.teacher)],
        strict=False,
    ):
        for name, parameter in ours.named_parameters():
            assert torch.equal(parameter, theirs.get_parameter(name))
            assert parameter is not theirs.get_parameter(name)


def test_backbones_are_separate_and_everything_else_is_shared(make_pair: MakePair) -> None:
    """Two embedding tables; one pooling, dense, user encoder, click model and topic head."""
    pair = make_pair()
    ours = {id(p) for p in pair.student.parameters()}
    theirs = {id(p) for p in pair.teacher.parameters()}
    backbone = {id(p) for p in pair.student.news_encoder.backbone.parameters()}
    assert not backbone & theirs
    assert ours - backbone == ours & theirs
    assert pair.teacher.news_encoder.dense is pair.student.news_encoder.dense
    assert pair.teacher.user_encoder is pair.student.user_encoder


def test_the_pair_counts_shared_parameters_once(make_pair: MakePair) -> None:
    """What is shared is trained once."""
    pair = make_pair()
    teacher_backbone = count_parameters(pair.teacher.news_encoder.backbone)
    assert count_parameters(pair) == count_parameters(pair.student) + teacher_backbone
