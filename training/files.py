"""Files: written under another name, flushed to disk and renamed, so none is ever half there.

What is being written lies in a directory `<name>.<process>.partial` beside its place, so that
whatever a killed process leaves behind, a library's own temporary file included, is found and
removed, and two processes that fill the same cache do not meet.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO, FileIO
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from contract.article import Vectors
from contract.durable import sync
from training.errors import DiskFull

# No space, no quota, or a file larger than this process or file system allows.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically; `write` gets the path to write to.

    A full disk leaves the old file and nothing else, and raises DiskFull.
    """
    with _partial(path) as folder:
        file = folder / path.name
        write(file)
        # Some libraries write for the owner's eyes only; a checkpoint is to be served.
        file.chmod(folder.stat().st_mode & 0o666)
        sync(file)
        file.replace(path)
        sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_file(path, lambda file: file.write_bytes(content))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically."""
    written = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, lambda file: save_file(written, file, dict(metadata)))


def write_array(path: Path, array: Vectors) -> None:
    """Write a `.npy` file atomically."""
    # Not by NumPy itself: of a full disk it only says that it could not write.
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    write_bytes(path, content.getvalue())


def append_line(path: Path, line: str) -> None:
    """Append a line; a disk that fills on the way leaves the file as it was."""
    with _naming_a_full_disk(path), path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            _write_all(file, f"{line}\n".encode())
        except OSError:
            file.truncate(size)
            raise


def flush(path: Path) -> None:
    """Wait until a file that was appended to is on the disk; an absent one is."""
    if path.exists():
        sync(path)


def disk_full(path: Path, error: BaseException | None) -> DiskFull | None:
    """Return the failure that an error stands for if it says that a disk is full."""
    if isinstance(error, OSError):
        number = error.errno
    else:
        # safetensors writes in Rust and only tells the number in its text.
        told = (
            re.search(r"os error (\d+)", str(error)) if isinstance(error, SafetensorError) else None
        )
        number = int(told[1]) if told else None
    return DiskFull(path, os.strerror(number)) if number in FULL else None


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield a directory to fill; it takes the place of an older one only when it is complete."""
    recover_directory(path)
    with _partial(path) as partial:
        yield partial
        for file in (*partial.iterdir(), partial):
            sync(file)
        old = _old(path)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_directory(path: Path) -> None:
    """Put back the older directory if a process was killed before the new one stood there."""
    if not path.exists() and _old(path).exists():
        _old(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    folder = path.with_name(f"{path.name}.{os.getpid()}.partial")
    _clear_leftovers(path)
    try:
        with _naming_a_full_disk(path):
            folder.mkdir(parents=True)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_leftovers(path: Path) -> None:
    for folder in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        process = folder.name.split(".")[-2]
        if process == str(os.getpid()) or not _is_alive(process):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


@contextmanager
def _naming_a_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = disk_full(path, error)
        if full is None:
            raise
        raise full from error


def _write_all(file: FileIO, content: bytes) -> None:
    # A disk that is nearly full takes a part and refuses the next call.
    while content:
        content = content[file.write(content) :]


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")
