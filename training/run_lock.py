"""Run lock: one process at a time writes to a run directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from training.errors import RunLocked

NAME = "run.lock"
# Whoever lists runs holds the lock for an instant; that is not a second writer.
ATTEMPTS, PAUSE_S = 5, 0.05


def lock_directory(directory: Path) -> int:
    """Lock a run directory and return the descriptor that holds the lock until it is closed.

    The kernel lets go of it when the process ends, however it ends. Another process that holds
    it raises RunLocked.
    """
    descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    for attempt in range(ATTEMPTS):
        if _try_lock(descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        if attempt + 1 < ATTEMPTS:
            time.sleep(PAUSE_S)
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    os.close(descriptor)
    raise RunLocked(directory, holder)


def is_locked(directory: Path) -> bool:
    """Tell whether some process is writing to a run directory."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
