"""Checkpoint: what is written can be read, what is broken is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from contract.text import TextSpec
from training.checkpoint import StudentCheckpoint, load_pair, load_student, save_checkpoint
from training.errors import CheckpointError
from training.model import TeacherStudent


@pytest.fixture
def pair(make_pair: Callable[..., TeacherStudent]) -> TeacherStudent:
    """Return a pair with nothing at its starting value."""
    pair = make_pair()
    for parameter in pair.parameters():
        torch.nn.init.normal_(parameter)
    return pair.eval()


@pytest.fixture
def checkpoint(pair: TeacherStudent) -> StudentCheckpoint:
    """Describe the pair's student."""
    spec = TextSpec(fields=("title",), max_tokens=9)
    facts = {"teacher": "tiny"}
    return StudentCheckpoint(pair.student, spec, b"{}", ["a", "b"], facts, {"student": {}})


def test_all_that_was_saved_is_read(
    tmp_path: Path, pair: TeacherStudent, checkpoint: StudentCheckpoint
) -> None:
    """Weights of both models, text specification, tokenizer, topics, provenance, metrics."""
    save_checkpoint(tmp_path / "checkpoint", checkpoint, pair.teacher)
    again, read = load_pair(tmp_path / "checkpoint")
    for name, parameter in pair.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name
    assert read.model.architecture == pair.student.architecture
    assert (read.spec, read.tokenizer_json, read.topics) == (checkpoint.spec, b"{}", ["a", "b"])
    assert (read.provenance, read.metrics) == (checkpoint.provenance, checkpoint.metrics)


def test_a_run_directory_stands_for_its_checkpoint(
    tmp_path: Path, checkpoint: StudentCheckpoint
) -> None:
    """Nobody has to know where inside it lies."""
    save_checkpoint(tmp_path / "checkpoint", checkpoint)
    assert load_student(tmp_path).topics == ["a", "b"]


def test_saving_replaces_and_leaves_nothing_else(
    tmp_path: Path, pair: TeacherStudent, checkpoint: StudentCheckpoint
) -> None:
    """The second checkpoint is whole, and no temporary name is left beside it."""
    save_checkpoint(tmp_path / "checkpoint", checkpoint)
    save_checkpoint(tmp_path / "checkpoint", checkpoint, pair.teacher)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "checkpoint.json",
        "student.safetensors",
        "teacher.safetensors",
        "tokenizer.json",
    ]


def test_a_checkpoint_without_a_teacher_says_so(
    tmp_path: Path, checkpoint: StudentCheckpoint
) -> None:
    """Only the student was saved."""
    save_checkpoint(tmp_path / "checkpoint", checkpoint)
    with pytest.raises(CheckpointError, match="holds no teacher"):
        load_pair(tmp_path / "checkpoint")


def damage_format(path: Path) -> None:
    """Pretend to be of a later format."""
    content = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**content, "format": 99}))


def damage_shape(path: Path) -> None:
    """Claim another width."""
    content = json.loads((path / "checkpoint.json").read_text())
    content["architecture"]["hidden"] = 32
    (path / "checkpoint.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "checkpoint.json").unlink(), "No such file"),
        (lambda path: (path / "checkpoint.json").write_text("{"), "checkpoint.json"),
        (damage_format, "format 99, not 1"),
        (damage_shape, "size mismatch"),
        (lambda path: (path / "student.safetensors").write_bytes(b"half"), "student.safetensors"),
        (lambda path: (path / "tokenizer.json").unlink(), "tokenizer.json"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(
    tmp_path: Path, checkpoint: StudentCheckpoint, damage: Callable[[Path], None], message: str
) -> None:
    """Absent, half written, of another format or shape."""
    save_checkpoint(tmp_path / "checkpoint", checkpoint)
    damage(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match=message):
        load_student(tmp_path / "checkpoint")
