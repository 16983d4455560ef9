"""What can go wrong in training, as one tree.

TrainingError
├── ConfigError        the TOML file: unknown key, wrong type, impossible value
├── TeacherError       the pretrained model cannot serve as the teacher
│   └── DepthMismatch  the student's depth does not divide the teacher's
├── DataError          the MIND folder or a text file has nothing to train on
├── CheckpointError    a checkpoint is absent, incomplete or of another shape
├── ResumeError        a run directory cannot be continued
└── NonFiniteLoss      a loss became NaN or infinite
"""

from __future__ import annotations


class TrainingError(Exception):
    """Stand for every failure that a person can answer."""


class ConfigError(TrainingError):
    """Name the key of the configuration that is wrong."""


class TeacherError(TrainingError):
    """Say why a pretrained model cannot serve as the teacher."""


class DepthMismatch(TeacherError):
    """Refuse a student whose depth does not divide the teacher's."""

    def __init__(self, *, teacher_layers: int, student_layers: int) -> None:
        super().__init__(
            f"a student of {student_layers} layers does not divide a teacher of {teacher_layers}: "
            "each student layer must stand for the same number of teacher layers"
        )


class DataError(TrainingError):
    """Say what is missing from the data."""


class CheckpointError(TrainingError):
    """Say which checkpoint cannot be read, and why."""


class ResumeError(TrainingError):
    """Say why a run cannot be continued."""


class NonFiniteLoss(TrainingError):
    """Name the losses that became NaN or infinite, and the step."""

    def __init__(self, *, step: int, names: list[str]) -> None:
        super().__init__(
            f"step {step}: {', '.join(names)} is not finite; "
            "lower the learning rates or train in fp32 (run.precision)"
        )
