"""Opening a bundle: refused, each thing by a name of its own, unless it is as it was written."""

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from contract import bundle_errors
from contract.bundle import (
    CLICK_MODEL,
    GOLDEN,
    MANIFEST,
    MANIFEST_HASH,
    MAX_GRAPH_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_TEXT_BYTES,
    NEWS_ENCODER,
    TOPICS,
    canonical_json,
    open_bundle,
)
from contract.bundle_errors import (
    BundleError,
    BundleFormatUnknown,
    BundleMissing,
    FileAltered,
    FileMissing,
    FileNotPlain,
    FileResized,
    FileTooLarge,
    FileUnlisted,
    FileUnreadable,
    ManifestAltered,
    ManifestMalformed,
    NamespaceMismatch,
    refusing,
)
from tests.contract.forging import ALL, forge, sign_manifest


@pytest.mark.parametrize(
    "name", ["nowhere", "nowhere/deeper", "empty", "bundle/tokenizer.json", "nul\0", "n" * 300]
)
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


def changed(file: Path) -> None:
    """Change the first byte."""
    raw = file.read_bytes()
    file.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])


def linked(file: Path) -> None:
    """Put a link in the place of a file, to the same bytes."""
    elsewhere = file.parent.with_name(f"elsewhere-{file.name}")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def linked_to_nothing(file: Path) -> None:
    """Put a link in the place of a file that leads nowhere."""
    file.unlink()
    file.symlink_to("nowhere")


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
    os.truncate(file, MAX_GRAPH_BYTES + 1)


DAMAGES: dict[Callable[[Path], None], type[BundleError]] = {
    emptied: FileResized,
    cut: FileResized,
    extended: FileResized,
    changed: FileAltered,
    linked: FileNotPlain,
    linked_to_nothing: FileNotPlain,
    made_a_directory: FileNotPlain,
    made_a_pipe: FileNotPlain,
    made_huge: FileTooLarge,
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ALL)
def test_a_damaged_file_is_refused_by_name(
    path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    """Whatever happened to whichever file, the refusal says what, and to which."""
    damage(path / name)
    by_its_hash = DAMAGES[damage] in (FileResized, FileAltered)
    is_signature = name in (MANIFEST, MANIFEST_HASH)
    expected = ManifestAltered if is_signature and by_its_hash else DAMAGES[damage]
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert type(caught.value) is expected
    assert caught.value.file == (MANIFEST if expected is ManifestAltered else name)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        (MANIFEST, MAX_MANIFEST_BYTES),
        (MANIFEST_HASH, MAX_MANIFEST_BYTES),
        (GOLDEN, MAX_TEXT_BYTES),
        (NEWS_ENCODER, MAX_GRAPH_BYTES),
    ],
)
def test_a_huge_file_is_not_read(path: Path, name: str, limit: int) -> None:
    """What no bundle holds is refused by its size, before it fills the memory."""
    os.truncate(path / name, limit + 1)
    with pytest.raises(FileTooLarge, match=f"{limit + 1:,} bytes, at most {limit:,}"):
        open_bundle(path)


def test_sizes_and_hashes_are_told(path: Path) -> None:
    """What was expected and what was found are part of the message."""
    size = len((path / TOPICS).read_bytes())
    changed(path / TOPICS)
    with pytest.raises(FileAltered, match=r"^topics\.json: sha256 \w{12}…, the manifest says \w"):
        open_bundle(path)
    cut(path / TOPICS)
    with pytest.raises(FileResized, match=rf"{size - 1} bytes, the manifest says {size}$"):
        open_bundle(path)


@pytest.mark.parametrize("name", sorted({*ALL} - {MANIFEST}))
def test_a_missing_file_is_refused_by_name(path: Path, name: str) -> None:
    """The message says which file is not there."""
    (path / name).unlink()
    with pytest.raises(FileMissing) as caught:
        open_bundle(path)
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["weights.bin", ".hidden", "news_encoder.onnx.data", "sub"])
def test_an_unlisted_file_is_refused_by_name(path: Path, name: str) -> None:
    """External weights, leftovers and directories do not slip in."""
    (path / name).mkdir() if name == "sub" else (path / name).write_bytes(b"")
    with pytest.raises(FileUnlisted) as caught:
        open_bundle(path)
    assert caught.value.file == name


def test_a_file_that_cannot_be_read_is_refused_by_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not read it is told so."""

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(FileUnreadable, match=r"manifest\.json: Permission denied"):
        open_bundle(path)


def test_two_swapped_files_are_refused(path: Path) -> None:
    """Each name has its own hash."""
    first, second = (path / name for name in (GOLDEN, CLICK_MODEL))
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b), second.write_bytes(a)
    with pytest.raises(FileResized):
        open_bundle(path)


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, 1.5, True, [1], None, 10**4000])
def test_another_format_version_is_refused(path: Path, version: object) -> None:
    """A build reads the one version it knows, even when all hashes are right."""
    forge(path, format_version=version, of_a_later_version=1)
    with pytest.raises(BundleFormatUnknown, match="format_version"):
        open_bundle(path)


@pytest.mark.parametrize(
    "change",
    [
        {"dim": None},
        {"dim": "many"},
        {"dim": 0},
        {"dim": -8},
        {"dim": 10**30},
        {"dim": "8"},
        {"dim": 8.0},
        {"dim": True},
        {"extra": 1},
        {"text": {"fields": ["body"]}},
        {"text": {"max_tokens": 10**9}},
        {"text": {"history": 10**9}},
        {"text": {"max_tokens": "32"}},
        {"files": []},
        {"files": {GOLDEN: {"sha256": "0"}}},
        {"quality": []},
        {"provenance": "mine"},
    ],
    ids=str,
)
def test_a_manifest_of_another_shape_is_refused(path: Path, change: dict[str, Any]) -> None:
    """The message names the field, or says that no writer of ours wrote it so."""
    forge(path, **change)
    with pytest.raises(ManifestMalformed, match=f"{next(iter(change))}|canonical"):
        open_bundle(path)


def spaced(raw: bytes) -> bytes:
    """Put a blank between two tokens."""
    return raw.replace(b",", b", ", 1)


def doubled(raw: bytes) -> bytes:
    """Name a field twice."""
    return raw.replace(b'{"dim":8', b'{"dim":9,"dim":8', 1)


def with_a_nan(raw: bytes) -> bytes:
    """Claim a quality that is no number."""
    return raw.replace(b'"auc":0.5', b'"auc":NaN', 1)


def escaped(raw: bytes) -> bytes:
    """Spell a letter as an escape."""
    return raw.replace(b'"auc"', b'"\\u0061uc"', 1)


@pytest.mark.parametrize("change", [spaced, doubled, with_a_nan, escaped])
def test_a_manifest_that_is_not_canonical_is_refused(
    path: Path, change: Callable[[bytes], bytes]
) -> None:
    """One content has one spelling, so one model has one identity and one reading."""
    raw = (path / MANIFEST).read_bytes()
    assert change(raw) != raw
    sign_manifest(path, change(raw))
    with pytest.raises(ManifestMalformed, match="not in canonical form"):
        open_bundle(path)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"null", b"1", b"{", b"\xff", b"[" * 10_000, b'{"a":' * 10_000, b'["\\ud800"]'],
    ids=lambda raw: repr(raw[:9]),
)
def test_a_manifest_that_is_no_json_object_is_refused(path: Path, raw: bytes) -> None:
    """Even one that its hash file names."""
    sign_manifest(path, raw)
    with pytest.raises(ManifestMalformed, match="JSON"):
        open_bundle(path)


def test_another_namespace_is_refused(path: Path) -> None:
    """The manifest cannot claim a vector space that its files do not make."""
    forge(path, namespace="0" * 16)
    with pytest.raises(NamespaceMismatch, match="0000000000000000"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["../secret", "notes.txt", "sub/notes.txt", "", "/etc/passwd"])
@pytest.mark.parametrize("instead", [None, GOLDEN])
def test_a_manifest_that_lists_other_files_is_refused(
    path: Path, name: str, instead: str | None
) -> None:
    """Nothing outside the directory, nor any file of another name, is ever read."""
    path.with_name("secret").write_bytes(b"x")
    entry = {"sha256": sha256(b"x").hexdigest(), "size": 1}
    listed = {**json.loads((path / MANIFEST).read_bytes())["files"], name: entry}
    listed.pop(instead, None)
    forge(path, files=listed)
    with pytest.raises(ManifestMalformed, match="files: "):
        open_bundle(path)


def test_every_refusal_is_a_bundle_error() -> None:
    """Whoever loads a bundle catches one root, which is a ValueError; the tree shows all."""
    refusals = {
        kind
        for kind in vars(bundle_errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert len(refusals) > 20
    for refusal in refusals:
        assert issubclass(refusal, BundleError)
        assert refusal.__name__ in (bundle_errors.__doc__ or "")
    assert issubclass(BundleError, ValueError)


def test_a_refusal_is_one_line_whatever_a_name_holds(path: Path) -> None:
    """File names of others neither steer a terminal nor fill it."""
    name = "\x1b[2Jevil\n" + "x" * 200
    (path / name).write_bytes(b"")
    with pytest.raises(FileUnlisted) as caught:
        open_bundle(path)
    assert str(caught.value).isprintable()
    assert len(str(BundleError("file", "y" * 10_000))) < 400


class PanicException(BaseException):
    """What a Rust library raises when it panics: no Exception."""


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, RecursionError, PanicException])
def test_what_a_library_raises_is_a_refusal(error: type[BaseException]) -> None:
    """Libraries' errors have no root in common; the refusal keeps the name and the cause."""
    with pytest.raises(FileAltered, match=f"^topics.json: {error.__name__}: why") as caught:  # noqa: SIM117
        with refusing(FileAltered, TOPICS):
            raise error("why")
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ModuleNotFoundError, BundleError])
def test_what_is_not_about_the_bundle_passes(error: type[BaseException]) -> None:
    """Neither an interruption nor a missing library is the bundle's fault."""
    raised = error("why", "") if error is BundleError else error("why")
    with pytest.raises(error) as caught, refusing(FileAltered, TOPICS):
        raise raised
    assert type(caught.value) is error


def test_the_manifest_on_disk_is_canonical(path: Path) -> None:
    """What the guard asks for is what the writer writes."""
    raw = (path / MANIFEST).read_bytes()
    assert canonical_json(json.loads(raw)) == raw
