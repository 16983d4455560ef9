"""Checkpoint: a trained model as safetensors and JSON, nothing that can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from contract.text import TextSpec
from contract.tokens import TextTokenizer
from training.errors import CheckpointError
from training.files import whole_directory, write_bytes, write_tensors
from training.model.architecture import Architecture, build_backbone
from training.model.student import Student, TeacherStudent, build_student

FORMAT = 1


@dataclass(frozen=True)
class StudentCheckpoint:
    """Hold a model with all that is needed to encode text with it.

    `metrics` maps "student" and "teacher" to figures by name, where they are known.
    """

    model: Student
    spec: TextSpec
    tokenizer_json: bytes
    topics: list[str]
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def tokenizer(self) -> TextTokenizer:
        """Return the tokenizer, cut at the text specification's length."""
        return TextTokenizer(self.tokenizer_json, self.spec.max_tokens)


def save_checkpoint(
    path: Path, checkpoint: StudentCheckpoint, teacher: Student | None = None
) -> None:
    """Write a checkpoint directory atomically, with the teacher's backbone where it is given."""
    layers = teacher.architecture.layers if teacher is not None else None
    with whole_directory(path) as partial:
        write_tensors(partial / "student.safetensors", _parameters(checkpoint.model), {})
        if teacher is not None:
            backbone = _parameters(teacher.news_encoder.backbone)
            write_tensors(partial / "teacher.safetensors", backbone, {})
        write_bytes(partial / "tokenizer.json", checkpoint.tokenizer_json)
        write_bytes(partial / "checkpoint.json", _description(checkpoint, layers))


def load_student(path: Path) -> StudentCheckpoint:
    """Read the student of a checkpoint, or of a run directory that has one."""
    path = _locate(path)
    description = _read_description(path)
    model = build_student(Architecture.from_json(description["architecture"]))
    _load_into(model, path / "student.safetensors")
    return StudentCheckpoint(
        model=model.eval(),
        spec=TextSpec.model_validate(description["text"]),
        tokenizer_json=_read(path / "tokenizer.json"),
        topics=list(description["topics"]),
        provenance=description["provenance"],
        metrics=description["metrics"],
    )


def load_pair(path: Path) -> tuple[TeacherStudent, StudentCheckpoint]:
    """Read the student and the teacher that learned beside it."""
    path = _locate(path)
    checkpoint = load_student(path)
    layers = _read_description(path)["teacher_layers"]
    if layers is None:
        raise CheckpointError(f"{path.name} holds no teacher")
    backbone = build_backbone(checkpoint.model.architecture.with_layers(layers))
    _load_into(backbone, path / "teacher.safetensors")
    teacher = checkpoint.model.with_backbone(backbone, layers=layers)
    return TeacherStudent(checkpoint.model, teacher).eval(), checkpoint


def _locate(path: Path) -> Path:
    inside = path / "checkpoint"
    return inside if inside.is_dir() else path


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def _description(checkpoint: StudentCheckpoint, teacher_layers: int | None) -> bytes:
    content = {
        "format": FORMAT,
        "architecture": checkpoint.model.architecture.to_json(),
        "teacher_layers": teacher_layers,
        "text": checkpoint.spec.model_dump(mode="json"),
        "topics": checkpoint.topics,
        "provenance": checkpoint.provenance,
        "metrics": checkpoint.metrics,
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _read_description(path: Path) -> Mapping[str, Any]:
    try:
        description: dict[str, Any] = json.loads(_read(path / "checkpoint.json"))
    except ValueError as error:
        raise CheckpointError(f"{path.name}/checkpoint.json: {error}") from error
    if description.get("format") != FORMAT:
        raise CheckpointError(f"{path.name}: format {description.get('format')}, not {FORMAT}")
    return description


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error


def _load_into(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error
