"""Teacher run: a finished run whose model teaches and learns no more."""

from __future__ import annotations

from training.central_encoding import compares_states
from training.checkpoint import StudentCheckpoint, load_student
from training.config import Config
from training.distill import needs_teacher
from training.errors import ConfigError, DepthMismatch, TeacherError
from training.material import Inputs
from training.model.student import Student


def finished_teacher(
    checkpoint: StudentCheckpoint, inputs: Inputs, config: Config
) -> Student | None:
    """Return the model that teaches and learns no more, or None where the teacher learns.

    A run that cannot teach the checkpoint's student is refused.
    """
    path, weights = inputs.teacher_run, config.distillation.weights
    if config.distillation.joint or not needs_teacher(config):
        return None
    if path is None:
        raise ConfigError("distillation.joint is off: name the teacher's run with --teacher-run")
    finished = load_student(path)
    for name in ("spec", "topics", "tokenizer_json"):
        if getattr(finished, name) != getattr(checkpoint, name):
            raise TeacherError(f"teacher run {path.name}: its {name} differs from this run's")
    ours, theirs = checkpoint.model.architecture, finished.model.architecture
    if theirs.layers % ours.layers:
        raise DepthMismatch(teacher_layers=theirs.layers, student_layers=ours.layers)
    if theirs.hidden != ours.hidden and (weights.pooled or compares_states(weights)):
        raise TeacherError(
            f"teacher run {path.name}: its states are {theirs.hidden} wide, "
            f"this run's {ours.hidden}"
        )
    return finished.model
