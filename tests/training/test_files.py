"""Files: whole or not there, whatever happens while they are written."""

import errno
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.errors import DiskFull
from training.files import (
    recover_directory,
    whole_directory,
    write_array,
    write_bytes,
    write_file,
    write_tensors,
)

LIMIT = 20_000  # bytes that a file may have in the processes below
WRITERS = {
    "bytes": "write_bytes(path, bytes(100_000))",
    "tensors": "write_tensors(path, {'a': torch.zeros(25_000)}, {})",
    "array": "write_array(path, np.zeros((100, 250), dtype=np.float32))",
    "line": "append_line(path, 'x' * 100_000)",
    "lines": "append_line(path, 'y' * 15_000)\nappend_line(path, 'z' * 15_000)",
    "directory": """
with whole_directory(path.parent / 'checkpoint') as partial:
    write_bytes(partial / 'small', b'new')
    write_bytes(partial / 'large', bytes(100_000))
""",
}
PROGRAM = """
import json, resource, sys, numpy as np, torch
from pathlib import Path
from training.files import *
limit, parent, writers = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for name, write in writers.items():
    path = parent / name / "file"
    try:
        exec(write)
        print(f"{name}\tno error")
    except Exception as error:
        print(f"{name}\t{type(error).__name__}: {error}")
"""


def full_disk(file: Path) -> None:
    """Write a part and find the disk full."""
    file.write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def everything_in(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def run_limited(parent: Path, limit: int) -> dict[str, str]:
    """Run every writer in a process whose files the kernel cuts at `limit` bytes: what it said."""
    for name in WRITERS:
        (parent / name / "checkpoint").mkdir(parents=True)
        (parent / name / "checkpoint" / "small").write_bytes(b"old")
        (parent / name / "file").write_bytes(b"old\n")
    command = [sys.executable, "-c", PROGRAM, str(limit), str(parent), json.dumps(WRITERS)]
    report = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return dict(line.split("\t", 1) for line in report.stdout.splitlines())


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return the directories of writers that were cut, and what each said."""
    parent = tmp_path_factory.mktemp("refused")
    return parent, run_limited(parent, LIMIT)


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    """Every kind of file arrives whole, readable as the umask says, and alone."""
    before = os.umask(0o022)
    try:
        write_bytes(tmp_path / "a", b"a")
        write_tensors(tmp_path / "b", {"x": torch.arange(6).reshape(2, 3).T}, {"k": "v"})
        write_array(tmp_path / "c.npy", np.ones((2, 2), dtype=np.float32))
    finally:
        os.umask(before)
    assert load_file(tmp_path / "b")["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert np.load(tmp_path / "c.npy").sum() == 4
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in tmp_path.iterdir()} == dict.fromkeys(
        ("a", "b", "c.npy"), "0o644"
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_real_refusal_by_the_kernel_leaves_the_old_files(
    refused: tuple[Path, dict[str, str]], name: str
) -> None:
    """The disk is named, the old content stays, and no part of the new one does."""
    parent, said = refused
    expected = r"DiskFull: \w+: File too large on the disk at /.* MB free.*--resume"
    assert re.fullmatch(expected, said[name])
    whole = b"y" * 15_000 + b"\n" if name == "lines" else b""
    assert everything_in(parent / name) == {"checkpoint/small": b"old", "file": b"old\n" + whole}
    assert sorted(path.name for path in (parent / name).iterdir()) == ["checkpoint", "file"]


def test_the_refusal_is_the_limits_doing(tmp_path: Path) -> None:
    """Without the limit the same writers succeed."""
    assert run_limited(tmp_path, resource.RLIM_INFINITY) == dict.fromkeys(WRITERS, "no error")
    sizes = {name: max(map(len, everything_in(tmp_path / name).values())) for name in WRITERS}
    assert min(sizes.values()) > LIMIT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_or_quota_is_named(tmp_path: Path, number: int) -> None:
    """The file, the reason and the disk, in one line."""
    (tmp_path / "state").write_bytes(b"old")

    def write(file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(DiskFull, match=rf"state: {os.strerror(number)} on the disk at /"):
        write_file(tmp_path / "state", write)
    assert everything_in(tmp_path) == {"state": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_another_failure_keeps_its_name(tmp_path: Path) -> None:
    """What is not a full disk is not called one, and cleans up as well."""

    def write(file: Path) -> None:
        raise PermissionError(errno.EACCES, "no", str(file))

    with pytest.raises(PermissionError):
        write_file(tmp_path / "state", write)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    """A library's own temporary file too: it lies in the directory that is removed."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    for process in (str(dead.pid), "nobody"):
        (tmp_path / f"state.{process}.partial").mkdir()
        (tmp_path / f"state.{process}.partial" / ".tmpX").write_bytes(b"half")
    write_bytes(tmp_path / "state", b"new")
    assert everything_in(tmp_path) == {"state": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    """Two runs may fill the same cache at the same time."""
    other = tmp_path / f"state.{os.getppid()}.partial"
    other.mkdir()
    write_bytes(tmp_path / "state", b"new")
    assert other.exists()


def fill(path: Path, content: bytes, *, fail: Callable[[Path], object] | None = None) -> None:
    """Replace a directory by one with a file."""
    with whole_directory(path) as partial:
        write_bytes(partial / "file", content)
        if fail is not None:
            fail(partial / "other")


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The older one stands until the new one is complete."""
    target = tmp_path / "checkpoint"
    fill(target, b"first")
    (target / "more").write_bytes(b"more")
    with pytest.raises(DiskFull, match="checkpoint: No space left on device"):
        fill(target, b"second", fail=full_disk)
    assert everything_in(tmp_path) == {"checkpoint/file": b"first", "checkpoint/more": b"more"}
    fill(target, b"third")
    assert everything_in(tmp_path) == {"checkpoint/file": b"third"}


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """The older directory is put back; one that stands is kept and the remains go."""
    target, old = tmp_path / "checkpoint", tmp_path / "checkpoint.old"
    fill(target, b"first")
    target.rename(old)
    recover_directory(target)
    assert everything_in(tmp_path) == {"checkpoint/file": b"first"}
    target.rename(old)
    fill(target, b"second")
    assert everything_in(tmp_path) == {"checkpoint/file": b"second"}
    old.mkdir()
    recover_directory(target)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_the_names_are_flushed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rename the directory is synced: otherwise a power cut can take the new name back."""
    synced: list[str] = []
    fsync = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)
    write_bytes(tmp_path / "file", b"a")
    assert synced[-1] == str(tmp_path)
    fill(tmp_path / "checkpoint", b"a")
    assert synced[-2:] == [str(tmp_path / f"checkpoint.{os.getpid()}.partial"), str(tmp_path)]
