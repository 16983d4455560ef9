"""Environment: the device, the versions and the commit that a run depends on."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from training.device import name_of

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def environment(device: torch.device) -> dict[str, Any]:
    """Name the device, the versions and the commit that a run depends on."""
    return {
        "python": platform.python_version(),
        "processor": platform.machine(),
        "device": name_of(device),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git": git_commit(),
    }


def git_commit() -> str | None:
    """Return the commit of the code, or None outside a repository."""
    try:
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changes else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    found = subprocess.run(  # noqa: S603  (constant commands)
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()
