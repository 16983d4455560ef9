"""Run lock: a second process on a run directory is refused by name; a killed one holds nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.errors import RunLocked
from training.run_lock import is_locked, lock_directory

HOLD = """
import sys, time
from pathlib import Path
from training.run_lock import lock_directory
lock_directory(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds the lock of tmp_path."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_name(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The message says which directory and which process."""
    with pytest.raises(RunLocked, match=rf"{tmp_path.name} is in use by process {holder.pid}:"):
        lock_directory(tmp_path)
    assert is_locked(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The kernel lets go of the lock at kill -9."""
    holder.kill()
    holder.wait()
    assert not is_locked(tmp_path)
    os.close(lock_directory(tmp_path))


def test_asking_takes_nothing(tmp_path: Path) -> None:
    """Where no run is there is no lock, and asking leaves no file; a free one stays free."""
    assert not is_locked(tmp_path)
    assert not list(tmp_path.iterdir())
    descriptor = lock_directory(tmp_path)
    assert is_locked(tmp_path)
    os.close(descriptor)
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path)
