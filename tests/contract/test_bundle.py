"""The bundle: written whole or not at all, and refused when one byte of it is not as written."""

import json
import os
import shutil
import signal
import subprocess
import sys
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
    NEWS_ENCODER,
    TOKENIZER,
    Bundle,
    BundleError,
    BundleFormatUnknown,
    BundleMissing,
    BundleTampered,
    canonical_json,
    namespace_of,
    open_bundle,
    write_bundle,
)
from contract.text import TextSpec
from tests.builders import WORDS, a_bundle, a_click_model, bundle_files

ALL = sorted(FILES | {MANIFEST, MANIFEST_HASH})
FACTS: dict[str, Any] = {
    "dim": 8,
    "layers": 1,
    "topics": len(WORDS),
    "text": TextSpec(),
    "quality": {"auc": 0.5},
    "provenance": {},
}


@pytest.fixture(scope="module")
def sound(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sound bundle's directory, which stays sound."""
    path = tmp_path_factory.mktemp("sound") / "bundle"
    write_bundle(path, bundle.files, **FACTS)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    """Give a copy of it, to be damaged."""
    return shutil.copytree(sound, tmp_path / "bundle")


def forge(path: Path, **changes: Any) -> None:
    """Change the manifest and name it properly, as whoever can write the directory could."""
    manifest = {**json.loads((path / MANIFEST).read_bytes()), **changes}
    raw = canonical_json({key: value for key, value in manifest.items() if value is not None})
    (path / MANIFEST).write_bytes(raw)
    (path / MANIFEST_HASH).write_text(f"{sha256(raw).hexdigest()}\n")


# Writing and reading


def test_what_is_written_is_what_is_opened(bundle: Bundle, path: Path) -> None:
    """Files, facts and identities come back."""
    opened = open_bundle(path)
    assert opened.files == bundle.files
    assert set(opened.files) == FILES
    assert opened.file(TOKENIZER) == bundle.file(TOKENIZER)
    assert (opened.text, opened.topics) == (TextSpec(), list(WORDS))
    manifest = opened.manifest
    assert (manifest.format_version, manifest.dim, manifest.layers, manifest.topics) == (1, 8, 1, 4)
    assert manifest.quality == {"auc": 0.5}


def test_the_directory_holds_the_files_the_manifest_and_its_hash(path: Path) -> None:
    """The hash file is what `sha256sum` prints, without the name."""
    assert sorted(entry.name for entry in path.iterdir()) == ALL
    raw = (path / MANIFEST).read_bytes()
    assert (path / MANIFEST_HASH).read_text() == f"{sha256(raw).hexdigest()}\n"
    assert canonical_json(json.loads(raw)) == raw


def test_an_open_bundle_does_not_change_with_its_directory(path: Path) -> None:
    """What was verified is in memory."""
    opened = open_bundle(path)
    before = opened.file(GOLDEN)
    shutil.rmtree(path)
    assert opened.file(GOLDEN) == before


def test_a_link_to_a_whole_bundle_is_followed(path: Path) -> None:
    """`current` may point at one of several bundles; only files must not be links."""
    current = path.with_name("current")
    current.symlink_to(path)
    assert open_bundle(current).model == open_bundle(path).model


@pytest.mark.parametrize("drop", sorted(FILES))
def test_a_bundle_with_a_file_too_few_is_not_written(drop: str, tmp_path: Path) -> None:
    """Export cannot forget a file."""
    files = dict.fromkeys(FILES - {drop}, b"x")
    with pytest.raises(BundleTampered, match="exactly"):
        write_bundle(tmp_path / "bundle", files, **FACTS)
    assert not list(tmp_path.iterdir())


def test_a_bundle_with_a_file_too_many_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    """Export cannot add one either."""
    with pytest.raises(BundleTampered, match="exactly"):
        write_bundle(tmp_path / "bundle", {**bundle.files, "notes.txt": b""}, **FACTS)


def test_quality_that_is_not_a_number_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    """A manifest is JSON: no NaN."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path / "b", bundle.files, **{**FACTS, "quality": {"auc": float("nan")}})
    assert not list(tmp_path.iterdir())


# Identities


def test_the_same_files_are_the_same_model(tmp_path: Path) -> None:
    """Nothing but the content decides, neither place nor time."""
    first, second = a_bundle(tmp_path / "a"), a_bundle(tmp_path / "b" / "c")
    assert (first.model, first.namespace) == (second.model, second.namespace)
    assert first.files == second.files
    assert len(first.model) == len(first.namespace) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"click_model": a_click_model(scale=6.0)},
        {"model_card": "# Another card\n"},
        {"quality": {"auc": 0.6}},
        {"provenance": {"seed": 2}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_model_may_share_the_namespace(
    bundle: Bundle, tmp_path: Path, change: dict[str, Any]
) -> None:
    """What does not decide a text's vector is another model in the same vector space."""
    other = a_bundle(tmp_path / "other", **change)
    assert other.model != bundle.model
    assert other.namespace == bundle.namespace


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"text": TextSpec(fields=("title",))},
        {"text": TextSpec(max_tokens=16)},
        {"text": TextSpec(abstract_chars=9)},
    ],
)
def test_what_decides_a_vector_is_another_namespace(
    bundle: Bundle, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Another news encoder or text specification is another vector space."""
    other = a_bundle(tmp_path / "other", **change)
    assert other.namespace != bundle.namespace
    assert other.model != bundle.model


def test_another_tokenizer_is_another_namespace(bundle: Bundle) -> None:
    """One byte of the tokenizer is enough, and parts cannot be shifted into each other."""
    news, tokenizer = bundle.file(NEWS_ENCODER), bundle.file(TOKENIZER)
    assert namespace_of(news, tokenizer, bundle.text) == bundle.namespace
    assert namespace_of(news, tokenizer + b" ", bundle.text) != bundle.namespace
    assert namespace_of(news + tokenizer[:1], tokenizer[1:], bundle.text) != bundle.namespace


# Never half there


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
        write_bundle(tmp_path / "bundle", bundle.files, **FACTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("times", [0, 4, len(ALL)])
def test_a_failed_write_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The bundle already at the target stays whole."""
    before = open_bundle(path)
    monkeypatch.setattr(os, "fsync", DiskFullAfter(times))
    with pytest.raises(OSError, match="No space left"):
        write_bundle(path, bundle_files(seed=1), **FACTS)
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
        write_bundle(path, bundle_files(seed=1), **FACTS)
    assert open_bundle(path) == before
    assert list(path.parent.iterdir()) == [path]


def test_a_bundle_replaces_a_bundle_whole(path: Path) -> None:
    """Nothing of the old one is left, beside it neither; a damaged one is replaced, too."""
    (path / GOLDEN).unlink()
    written = write_bundle(path, bundle_files(seed=1), **FACTS)
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
    write_bundle(tmp_path / "bundle", bundle.files, **FACTS)
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
m = source.manifest
write_bundle(target, source.files, dim=m.dim, layers=m.layers, topics=m.topics, text=m.text,
             quality=m.quality, provenance=m.provenance)
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
    with pytest.raises(BundleError, match="not replaced"):
        write_bundle(tmp_path, bundle.files, **FACTS)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == content


def test_a_file_is_not_replaced_but_an_empty_directory_is(bundle: Bundle, tmp_path: Path) -> None:
    """A target may be made beforehand; a file is a mistake."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "file", bundle.files, **FACTS)
    assert write_bundle(tmp_path / "empty", bundle.files, **FACTS).files == bundle.files


# Refusals


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


DAMAGES = (emptied, cut, extended, linked, made_a_directory, made_a_pipe, made_huge)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ALL)
def test_a_damaged_file_is_refused(path: Path, name: str, damage: Callable[[Path], None]) -> None:
    """Whatever happened to whichever file, it is not the one that was written."""
    damage(path / name)
    with pytest.raises(BundleTampered):
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
