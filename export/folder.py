"""Folder: files of our own put in the place of older ones of our own, and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.errors import FolderRefused


def require_replaceable(target: Path, files: Mapping[str, bytes], *, mark: str) -> None:
    """Raise FolderRefused unless a folder is absent, empty, or an older one of the same files."""
    if not target.exists():
        return
    if not target.is_dir():
        raise FolderRefused(f"{target} is a file: not replaced")
    present = {
        str(path.relative_to(target).as_posix())
        for path in target.rglob("*")
        if not _is_folder(path)
    }
    if present and mark not in present:
        raise FolderRefused(f"{target} is not empty and not an earlier export: not replaced")
    strangers = sorted(present - set(files))
    if strangers:
        raise FolderRefused(f"{target} also holds {', '.join(strangers[:3])}: not replaced")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
