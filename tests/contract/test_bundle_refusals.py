"""Opening a bundle: refused when one byte of it is not as it was written."""

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.bundle import (
    CLICK_MODEL,
    FILES,
    GOLDEN,
    MANIFEST,
    MANIFEST_HASH,
    MAX_FILE_BYTES,
    BundleError,
    BundleFormatUnknown,
    BundleMissing,
    BundleTampered,
    canonical_json,
    open_bundle,
)

ALL = sorted(FILES | {MANIFEST, MANIFEST_HASH})


def forge(path: Path, **changes: Any) -> None:
    """Change the manifest and name it properly, as whoever can write the directory could."""
    manifest = {**json.loads((path / MANIFEST).read_bytes()), **changes}
    raw = canonical_json({key: value for key, value in manifest.items() if value is not None})
    (path / MANIFEST).write_bytes(raw)
    (path / MANIFEST_HASH).write_text(f"{sha256(raw).hexdigest()}\n")


@pytest.mark.parametrize("name", ["nowhere", "nowhere/deeper", "empty", "bundle/tokenizer.json"])
def test_no_bundle_is_said_to_be_missing(path: Path, name: str) -> None:
    """Neither a missing directory, an empty one nor a file is a bundle."""
    path.with_name("empty").mkdir()
    with pytest.raises(BundleMissing):
        open_bundle(path.parent / name)


def test_a_bundle_without_manifest_is_missing(path: Path) -> None:
    """Without a manifest nothing says that this was ever a bundle."""
    (path / MANIFEST).unlink()
    with pytest.raises(BundleMissing, match=MANIFEST):
        open_bundle(path)


def emptied(file: Path) -> None:
    """Leave nothing of a file."""
    file.write_bytes(b"")


def cut(file: Path) -> None:
    """Leave out the last byte."""
    file.write_bytes(file.read_bytes()[:-1])


def extended(file: Path) -> None:
    """Add a byte."""
    file.write_bytes(file.read_bytes() + b"\n")


def linked(file: Path) -> None:
    """Put a link in the place of a file, to the same bytes."""
    elsewhere = file.parent.with_name(f"elsewhere-{file.name}")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def made_a_directory(file: Path) -> None:
    """Put a directory in the place of a file."""
    file.unlink()
    file.mkdir()


def made_a_pipe(file: Path) -> None:
    """Put a named pipe in the place of a file, on which a careless reader would wait."""
    file.unlink()
    os.mkfifo(file)


def made_huge(file: Path) -> None:
    """Make a file of more than any bundle's size, without using the disk."""
    os.truncate(file, MAX_FILE_BYTES + 1)


DAMAGES = (emptied, cut, extended, linked, made_a_directory, made_a_pipe)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ALL)
def test_a_damaged_file_is_refused(path: Path, name: str, damage: Callable[[Path], None]) -> None:
    """Whatever happened to whichever file, it is not the one that was written."""
    damage(path / name)
    with pytest.raises(BundleTampered):
        open_bundle(path)


def test_a_huge_file_is_not_read(path: Path) -> None:
    """What no bundle holds is refused by its size, before it fills the memory."""
    made_huge(path / GOLDEN)
    with pytest.raises(BundleTampered, match=r"at most 2,147,483,648 bytes"):
        open_bundle(path)


@pytest.mark.parametrize("name", sorted({*ALL} - {MANIFEST}))
def test_a_missing_file_is_refused_by_name(path: Path, name: str) -> None:
    """The message says which file is not there."""
    (path / name).unlink()
    with pytest.raises(BundleTampered, match=name):
        open_bundle(path)


@pytest.mark.parametrize("name", ["weights.bin", ".hidden", "news_encoder.onnx.data", "sub"])
def test_an_unlisted_file_is_refused_by_name(path: Path, name: str) -> None:
    """External weights, leftovers and directories do not slip in."""
    (path / name).mkdir() if name == "sub" else (path / name).write_bytes(b"")
    with pytest.raises(BundleTampered, match=name):
        open_bundle(path)


@pytest.mark.parametrize("name", ALL)
def test_one_flipped_bit_is_refused(path: Path, name: str) -> None:
    """At 30 seeded positions of every file, and at both ends."""
    random, raw = np.random.default_rng(len(name)), (path / name).read_bytes()
    for position in [0, len(raw) - 1, *random.integers(0, len(raw), 30)]:
        flipped = bytearray(raw)
        flipped[position] ^= 1 << int(random.integers(8))
        (path / name).write_bytes(flipped)
        with pytest.raises(BundleTampered):
            open_bundle(path)
    (path / name).write_bytes(raw)
    open_bundle(path)


def test_two_swapped_files_are_refused(path: Path) -> None:
    """Each name has its own hash."""
    first, second = (path / name for name in (GOLDEN, CLICK_MODEL))
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b), second.write_bytes(a)
    with pytest.raises(BundleTampered):
        open_bundle(path)


@pytest.mark.parametrize("version", [0, 2, "1", 1.5, [1]])
def test_another_format_version_is_refused(path: Path, version: object) -> None:
    """A build reads the one version it knows, even when all hashes are right."""
    forge(path, format_version=version)
    with pytest.raises(BundleFormatUnknown, match="format_version"):
        open_bundle(path)


@pytest.mark.parametrize(
    "change",
    [
        {"dim": None},
        {"dim": "many"},
        {"extra": 1},
        {"text": {"fields": ["body"]}},
        {"files": []},
        {"files": {GOLDEN: {"sha256": "0"}}},
    ],
    ids=str,
)
def test_a_manifest_of_another_shape_is_refused(path: Path, change: dict[str, Any]) -> None:
    """The message names the field."""
    forge(path, **change)
    with pytest.raises(BundleFormatUnknown, match=next(iter(change))):
        open_bundle(path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 10_000], ids=repr)
def test_a_manifest_that_is_no_json_object_is_refused(path: Path, raw: bytes) -> None:
    """Even one that its hash file names."""
    (path / MANIFEST).write_bytes(raw)
    (path / MANIFEST_HASH).write_text(f"{sha256(raw).hexdigest()}\n")
    with pytest.raises(BundleFormatUnknown):
        open_bundle(path)


def test_another_namespace_is_refused(path: Path) -> None:
    """The manifest cannot claim a vector space that its files do not make."""
    forge(path, namespace="0" * 16)
    with pytest.raises(BundleTampered, match="namespace"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["../secret", "notes.txt", "sub/notes.txt", ""])
def test_a_manifest_that_lists_other_files_is_refused(path: Path, name: str) -> None:
    """Nothing outside the directory, nor any file of another name, is ever read."""
    path.with_name("secret").write_bytes(b"x")
    entry = {"sha256": sha256(b"x").hexdigest(), "size": 1}
    listed = json.loads((path / MANIFEST).read_bytes())["files"]
    forge(path, files={**listed, name: entry})
    with pytest.raises(BundleTampered, match="unlisted"):
        open_bundle(path)


def test_every_refusal_is_a_bundle_error() -> None:
    """Whoever loads a bundle catches one root, which is a ValueError."""
    for refusal in (BundleMissing, BundleFormatUnknown, BundleTampered):
        assert issubclass(refusal, BundleError)
    assert issubclass(BundleError, ValueError)
