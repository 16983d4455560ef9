"""Files and names that outlast a power cut: flushed to the disk before anyone relies on them."""

import os
from collections.abc import Iterable
from pathlib import Path

READABLE = 0o666  # less the process's umask


def write_through(path: Path, blocks: Iterable[bytes | memoryview], *, mode: int = READABLE) -> int:
    """Write a new file, block by block, through to the disk; return its size in bytes.

    Its name is not on the disk before `sync` of its directory. Raise OSError where it cannot be
    written, FileExistsError where it is there already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
