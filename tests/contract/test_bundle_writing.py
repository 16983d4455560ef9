"""Writing a bundle: whole or not at all, whatever fails on the way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.bundle import (
    GOLDEN,
    MANIFEST,
    Bundle,
    open_bundle,
    write_bundle,
)
from contract.bundle_errors import BundleError, BundleMissing, BundleNotReplaced
from tests.builders import bundle_facts, bundle_files
from tests.contract.forging import ALL


class DiskFullAfter:
    """An `os.fsync` that works some times and then fails, as a full disk does."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, descriptor: int) -> None:
        """Count down, then fail."""
        self.times -= 1
        if self.times < 0:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("times", range(len(ALL) + 1))
def test_a_failed_write_leaves_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Whichever file could not be made durable, no bundle and no rest of one is there."""
    monkeypatch.setattr(os, "fsync", DiskFullAfter(times))
    with pytest.raises(OSError, match="No space left"):
        write_bundle(tmp_path / "bundle", bundle.files, bundle_facts())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("times", [0, 4, len(ALL)])
def test_a_failed_write_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The bundle already at the target stays whole."""
    before = open_bundle(path)
    monkeypatch.setattr(os, "fsync", DiskFullAfter(times))
    with pytest.raises(OSError, match="No space left"):
        write_bundle(path, bundle_files(seed=1), bundle_facts())
    assert open_bundle(path) == before
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_swap_puts_the_old_bundle_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the new one cannot take the place, the old one keeps it."""
    before, rename = open_bundle(path), os.rename

    def rename_but_not_the_new(source: Path, target: Path) -> None:
        if Path(target) == path and (Path(source) / MANIFEST).read_bytes() != manifest:
            raise OSError(5, "Input/output error")
        rename(source, target)

    manifest = (path / MANIFEST).read_bytes()
    monkeypatch.setattr(os, "rename", rename_but_not_the_new)
    with pytest.raises(OSError, match="Input/output error"):
        write_bundle(path, bundle_files(seed=1), bundle_facts())
    assert open_bundle(path) == before
    assert list(path.parent.iterdir()) == [path]


def test_a_bundle_replaces_a_bundle_whole(path: Path) -> None:
    """Nothing of the old one is left, beside it neither; a damaged one is replaced, too."""
    (path / GOLDEN).unlink()
    written = write_bundle(path, bundle_files(seed=1), bundle_facts())
    assert open_bundle(path) == written
    assert list(path.parent.iterdir()) == [path]


def test_files_are_durable_before_they_have_their_name(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file and the directory are synced, then renamed, then the parent is synced."""
    events: list[str] = []
    rename = os.rename
    monkeypatch.setattr(os, "fsync", lambda _: events.append("sync"))
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), rename(a, b)))
    write_bundle(tmp_path / "bundle", bundle.files, bundle_facts())
    assert events == ["sync"] * (len(ALL) + 1) + ["rename", "sync"]


KILLED = """
import os, signal, sys
from pathlib import Path
from contract.bundle import open_bundle, write_bundle
source, target, times = open_bundle(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
def fsync(descriptor):
    global times
    times -= 1
    if times < 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
write_bundle(target, source.files, source.manifest)
"""


@pytest.mark.parametrize("times", [0, 5, len(ALL)])
def test_a_killed_writer_leaves_no_bundle_and_harms_none(path: Path, times: int) -> None:
    """SIGKILL at any point before the rename: the old bundle stands, a new name stays free."""
    before = open_bundle(path)
    for target in (path, path.with_name("new")):
        command = [sys.executable, "-c", KILLED, str(path), str(target), str(times)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert open_bundle(path) == before
    with pytest.raises(BundleMissing):
        open_bundle(path.with_name("new"))


@pytest.mark.parametrize("content", [{"thesis.txt": "x"}, {MANIFEST: "{}", "src": "x"}])
def test_what_is_not_a_bundle_is_not_replaced(
    bundle: Bundle, tmp_path: Path, content: dict[str, str]
) -> None:
    """A mistyped target does not cost anyone a directory."""
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BundleNotReplaced, match="not replaced"):
        write_bundle(tmp_path, bundle.files, bundle_facts())
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == content


def test_a_file_is_not_replaced_but_an_empty_directory_is(bundle: Bundle, tmp_path: Path) -> None:
    """A target may be made beforehand; a file is a mistake."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "file", bundle.files, bundle_facts())
    assert write_bundle(tmp_path / "empty", bundle.files, bundle_facts()).files == bundle.files
