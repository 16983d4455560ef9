"""What can go wrong in training, as one tree.

TrainingError
├── ConfigError        the TOML file: unknown key, wrong type, impossible value
├── DeviceError        the device to train on is not there
├── TeacherError       the pretrained model cannot serve as the teacher
│   └── DepthMismatch  the student's depth does not divide the teacher's
├── DataError          the MIND folder or a text file has nothing to train on
├── CheckpointError    a checkpoint is absent, incomplete or of another shape
├── ResumeError        a run directory cannot be continued
│   └── RunLocked      another process is writing to it
├── RunUnreadable      a run directory's files do not say what happened
├── DiskFull           no space is left for a file of the run
├── StudyError         the table of experiments, or figures that do not belong together
├── ProcessLost        another process of a run by torchrun has ended
├── NonFiniteLoss      a loss became NaN or infinite
└── NonFiniteWeights   a weight became NaN or infinite and is not saved
"""

from __future__ import annotations

import shutil
from pathlib import Path


class TrainingError(Exception):
    """Stand for every failure that a person can answer."""


class ConfigError(TrainingError):
    """Name the key of the configuration that is wrong."""


class DeviceError(TrainingError):
    """Say which device is missing."""


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


class RunLocked(ResumeError):
    """Name the run directory and the process that is writing to it."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"{directory} is in use by process {holder or '?'}: wait for it, or change --out"
        )


class RunUnreadable(TrainingError):
    """Name the file of a run directory that cannot be read, and why."""


class DiskFull(TrainingError):
    """Name the file that could not be written, the disk and what is free on it."""

    def __init__(self, path: Path, reason: str) -> None:
        place = path.absolute().parent
        disk = next(parent for parent in (place, *place.parents) if parent.is_mount())
        free_mb = shutil.disk_usage(disk).free / 1e6
        super().__init__(
            f"{path.name}: {reason} on the disk at {disk} ({free_mb:,.1f} MB free); "
            "what was saved before is whole: make room and continue with --resume"
        )


class StudyError(TrainingError):
    """Say what is wrong with the table of experiments or with the figures it is built from."""


class ProcessLost(TrainingError):
    """Say which process was left by another of the same run."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(
            f"process {rank} of {count} stops: another process of this run has ended, "
            "and its own message says why"
        )


class NonFiniteLoss(TrainingError):
    """Name the losses that became NaN or infinite, and the step."""

    def __init__(self, *, step: int, names: list[str]) -> None:
        super().__init__(
            f"step {step}: {', '.join(names)} is not finite; "
            "lower the learning rates or train in fp32 (run.precision)"
        )


class NonFiniteWeights(TrainingError):
    """Name the first weights that became NaN or infinite; the state saved before is kept."""

    def __init__(self, *, step: int, names: list[str]) -> None:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        super().__init__(
            f"after step {step}: {shown} not finite, so nothing was saved; "
            "lower the learning rates or train in fp32 (run.precision)"
        )
