"""Checks: settings that only the data and the teacher show to be impossible."""

from __future__ import annotations

from training.config import Config
from training.errors import DataError, TeacherError
from training.material import Material
from training.model.architecture import Architecture


def check_settings(config: Config, material: Material, teacher: Architecture) -> None:
    """Refuse texts longer than the teacher reads, and patience where nothing is held out."""
    lengths = {"text": config.text.max_tokens}
    if config.text_distillation.passes:
        lengths["text_distillation"] = config.text_distillation.max_tokens
    for table, tokens in lengths.items():
        if tokens > teacher.max_tokens:
            raise TeacherError(
                f"{table}.max_tokens = {tokens}, "
                f"but the teacher reads at most {teacher.max_tokens} tokens"
            )
    if config.run.patience and not material.holdout.impressions:
        raise DataError("run.patience is on, but no impression is held out")
