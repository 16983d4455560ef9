"""A bundle's directory on disk: plain files read without following anything, and replaced whole."""

import os
import shutil
import stat
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from contract.bundle_errors import (
    BundleMissing,
    BundleNotReplaced,
    FileMissing,
    FileNotPlain,
    FileTooLarge,
    FileUnreadable,
)
from contract.durable import sync, write_through

T = TypeVar("T")


def names_in(path: Path) -> set[str]:
    """Return the names in a directory; without one raises BundleMissing."""
    try:
        return {entry.name for entry in path.iterdir()}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleMissing(str(path), reason) from error


def read_plain(path: Path, name: str, *, at_most: int) -> bytes:
    """Read a plain file of the directory; links, pipes and what is too large are refused."""
    descriptor = _open(path, name)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise FileNotPlain(name, "is no plain file")
        if found.st_size > at_most:
            raise FileTooLarge(name, f"{found.st_size:,} bytes, at most {at_most:,} expected")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(found.st_size)
    except OSError as error:
        raise FileUnreadable(name, str(error.strerror)) from error
    finally:
        os.close(descriptor)


def refuse_to_replace(target: Path, names: Collection[str]) -> None:
    """Raise BundleNotReplaced where a directory holds anything but files of the given names."""
    # A mistyped target must not cost anyone a directory of something else.
    if target.exists() and not names_in(target) <= set(names):
        raise BundleNotReplaced(str(target), "is not a bundle and is not replaced")


def replace_whole(target: Path, files: Mapping[str, bytes], *, check: Callable[[Path], T]) -> T:
    """Write files under a temporary name, fsync them, and rename the directory to the target.

    Before that, `check` reads the directory; its answer is returned, and where it raises the target
    stays as it was. A directory already there makes room by a rename; a kill between the two
    renames leaves it under a temporary name beside, and the target absent.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    temporary.mkdir()
    try:
        for name, raw in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_through(temporary / name, [raw])
        answer = check(temporary)
        for directory in {(temporary / name).parent for name in files}:
            sync(directory)
        _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(target.parent)
    return answer


def _open(path: Path, name: str) -> int:
    try:
        # Not blocking: a named pipe would otherwise wait for its writer.
        return os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise FileMissing(name, "is not there") from error
    except OSError as error:
        if (path / name).is_symlink():
            raise FileNotPlain(name, "is a link") from error
        raise FileUnreadable(name, str(error.strerror)) from error


def _swap(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    old = _beside(target)
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}")
