"""A share of the encoder from before click training goes into what ships, and into nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.averaging import averaged, backbone_before_clicks
from training.model.student import Student, TeacherStudent


@pytest.fixture
def student(make_pair: Callable[..., TeacherStudent]) -> Student:
    """Give a small student whose weights the test may change."""
    return make_pair().student


def change(student: Student) -> None:
    """Add 1 to every parameter, as training would in its way."""
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)


def test_a_resumed_run_still_knows_the_encoder_from_before(
    student: Student, tmp_path: Path
) -> None:
    """The first call decides; later ones read what it wrote, whatever was trained meanwhile."""
    path = tmp_path / "before.safetensors"
    before = backbone_before_clicks(student, path)
    change(student)
    again = backbone_before_clicks(student, path)
    assert all(torch.equal(before[name], again[name]) for name in before)


@pytest.mark.parametrize(("share", "moved"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_the_transformer_is_the_weighted_mean(
    student: Student, tmp_path: Path, share: float, moved: float
) -> None:
    """Every parameter of the transformer lies on the line from before to after."""
    before = backbone_before_clicks(student, tmp_path / "before.safetensors")
    change(student)
    mixed = averaged(student, before, share)
    for name, parameter in mixed.news_encoder.backbone.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] + moved)


def test_heads_and_the_model_in_training_stay_as_they_are(student: Student, tmp_path: Path) -> None:
    """Only the copy's transformer is averaged: training goes on with its own weights.

    Pooling and the dense layer are the teacher's too, and stay what they became.
    """
    before = backbone_before_clicks(student, tmp_path / "before.safetensors")
    change(student)
    own = {name: p.detach().clone() for name, p in student.named_parameters()}
    mixed = averaged(student, before, 0.5)
    assert all(torch.equal(p.detach(), own[name]) for name, p in student.named_parameters())
    for name, parameter in mixed.named_parameters():
        if not name.startswith("news_encoder.backbone"):
            assert torch.equal(parameter.detach(), own[name])
