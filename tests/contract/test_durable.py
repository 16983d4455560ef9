"""What is written through is on the disk when the call returns, and was never held whole."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.durable import sync, write_through

BLOCK = bytes(1 << 20)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Give the path and size of all that was synced, in order."""
    told: list[tuple[str, int]] = []

    def remember(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        told.append((str(path), path.stat().st_size if path.is_file() else 0))

    monkeypatch.setattr(os, "fsync", remember)
    return told


def test_a_file_is_synced_once_all_of_it_is_written(
    tmp_path: Path, synced: list[tuple[str, int]]
) -> None:
    """Small blocks too, which a buffer would keep; the size is told."""
    file = tmp_path / "file"
    assert write_through(file, [b"ab", memoryview(b"c"), b""]) == 3
    assert file.read_bytes() == b"abc"
    assert synced == [(str(file), 3)]


def test_blocks_are_written_as_they_come(tmp_path: Path) -> None:
    """The next one is asked for when the last one has gone."""
    file, sizes = tmp_path / "file", list[int]()

    def blocks() -> Iterator[bytes]:
        for _ in range(3):
            sizes.append(file.stat().st_size)
            yield BLOCK

    assert write_through(file, blocks()) == 3 * len(BLOCK)
    assert sizes == [0, len(BLOCK), 2 * len(BLOCK)]


def test_a_file_is_new_and_of_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    """Never another's file, nor one that others could have opened before."""
    write_through(tmp_path / "own", [b"a"], mode=0o600)
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    (tmp_path / "plain").touch()
    write_through(tmp_path / "file", [b"a"])
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(FileExistsError):
        write_through(tmp_path / "own", [b"b"])
    assert (tmp_path / "own").read_bytes() == b"a"


def test_files_and_directories_are_synced(tmp_path: Path, synced: list[tuple[str, int]]) -> None:
    """A directory for the names in it; no descriptor is left open."""
    (tmp_path / "file").write_bytes(b"a")
    before = len(list(Path("/proc/self/fd").iterdir()))
    sync(tmp_path / "file")
    sync(tmp_path)
    assert synced == [(str(tmp_path / "file"), 1), (str(tmp_path), 0)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
