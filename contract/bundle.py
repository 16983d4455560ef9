"""The bundle: the directory that export writes and the service loads, verified or not at all.

It proves integrity, not authorship: whoever can write the directory can write its manifest.
"""

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.text import TextSpec

FORMAT_VERSION = 1
MANIFEST, MANIFEST_HASH = "manifest.json", "manifest.sha256"
NEWS_ENCODER, USER_ENCODER = "news_encoder.onnx", "user_encoder.onnx"
CLICK_MODEL, TOKENIZER, TOPICS = "click_model.json", "tokenizer.json", "topics.json"
GOLDEN, MODEL_CARD = "golden.jsonl", "MODEL_CARD.md"
FILES = frozenset({NEWS_ENCODER, USER_ENCODER, CLICK_MODEL, TOKENIZER, TOPICS, GOLDEN, MODEL_CARD})
# Nothing larger is read into memory, whatever the directory holds.
MAX_FILE_BYTES = 2 * 1024**3


class BundleError(ValueError):
    """A directory is not a sound bundle."""


class BundleMissing(BundleError):
    """There is no bundle where one was expected."""


class BundleFormatUnknown(BundleError):
    """The manifest is unreadable or of another format version."""


class BundleTampered(BundleError):
    """A file is missing, additional, a link, or not the one that the manifest names."""


class FileEntry(BaseModel):
    """What the manifest says of one file: its sha256 in hex and its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size: int


class Manifest(BaseModel):
    """The bundle's own description; its hash is the bundle's identity (`model`)."""

    # NaN stays NaN, which canonical JSON refuses; Pydantic's default would write null instead.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format_version: Literal[1] = 1
    namespace: str
    dim: int
    layers: int
    topics: int
    text: TextSpec
    files: dict[str, FileEntry]
    quality: dict[str, Any]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, its files in memory, so that nothing can change after the check."""

    manifest: Manifest
    model: str
    files: Mapping[str, bytes]

    @property
    def namespace(self) -> str:
        """Return the identity of the vector space."""
        return self.manifest.namespace

    @property
    def text(self) -> TextSpec:
        """Return the text specification."""
        return self.manifest.text

    @property
    def topics(self) -> list[str]:
        """Return the topic names in the order of the topic logits."""
        names: list[str] = json.loads(self.files[TOPICS])
        return names

    def file(self, name: str) -> bytes:
        """Return a file's verified bytes."""
        return self.files[name]


def namespace_of(news_encoder: bytes, tokenizer: bytes, text: TextSpec) -> str:
    """Return the identity of a vector space: what decides a text's vector."""
    digest = hashlib.sha256()
    for part in (news_encoder, tokenizer, canonical_json(text.model_dump(mode="json"))):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def write_bundle(
    target: Path,
    files: Mapping[str, bytes],
    *,
    dim: int,
    layers: int,
    topics: int,
    text: TextSpec,
    quality: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Bundle:
    """Write a bundle under a temporary name, fsync it and rename it: never half there.

    A bundle already at `target` is replaced by two renames (a kill between them leaves none
    there); anything else there is refused.
    """
    if set(files) != FILES:
        raise BundleTampered(f"a bundle holds exactly {sorted(FILES)}, not {sorted(files)}")
    _refuse_to_replace(target)
    manifest = Manifest(
        namespace=namespace_of(files[NEWS_ENCODER], files[TOKENIZER], text),
        dim=dim,
        layers=layers,
        topics=topics,
        text=text,
        files={name: FileEntry(sha256=_sha256(raw), size=len(raw)) for name, raw in files.items()},
        quality=dict(quality),
        provenance=dict(provenance),
    )
    raw = canonical_json(manifest.model_dump(mode="json"))
    _replace(target, {**files, MANIFEST: raw, MANIFEST_HASH: f"{_sha256(raw)}\n".encode()})
    return open_bundle(target)


def open_bundle(path: Path) -> Bundle:
    """Read and verify a bundle; raise the BundleError that says what is wrong with it."""
    present = _names(path)
    if MANIFEST not in present:
        raise BundleMissing(f"{path} holds no {MANIFEST}: not a bundle")
    raw = _read(path, MANIFEST)
    if _read(path, MANIFEST_HASH) != f"{_sha256(raw)}\n".encode():
        raise BundleTampered(f"{MANIFEST} is not the one that {MANIFEST_HASH} names")
    manifest = _parse(raw)
    _refuse_strangers(present, manifest)
    files = {name: _verified(path, name, entry) for name, entry in manifest.files.items()}
    found = namespace_of(files[NEWS_ENCODER], files[TOKENIZER], manifest.text)
    if found != manifest.namespace:
        raise BundleTampered(f"namespace is {found}, the manifest says {manifest.namespace}")
    return Bundle(manifest=manifest, model=_sha256(raw)[:16], files=files)


def canonical_json(value: object) -> bytes:
    """Write JSON in the one form that is hashed: sorted keys, no blanks, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _parse(raw: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleFormatUnknown(f"{MANIFEST}: {where}: {first['msg']}") from error


def _names(path: Path) -> set[str]:
    try:
        return {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise BundleMissing(f"{path}: {error.strerror}") from error


def _refuse_strangers(present: set[str], manifest: Manifest) -> None:
    expected = FILES | {MANIFEST, MANIFEST_HASH}
    listed = set(manifest.files) | {MANIFEST, MANIFEST_HASH}
    if listed != expected or present != expected:
        odd = sorted((listed ^ expected) | (present ^ expected))
        raise BundleTampered(f"missing or unlisted files: {', '.join(odd)}")


def _verified(path: Path, name: str, entry: FileEntry) -> bytes:
    raw = _read(path, name)
    if len(raw) != entry.size or _sha256(raw) != entry.sha256:
        raise BundleTampered(f"{name} is not the file that the manifest names")
    return raw


def _read(path: Path, name: str) -> bytes:
    try:
        # Not blocking: a named pipe would otherwise wait for its writer.
        descriptor = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BundleTampered(f"{name}: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise BundleTampered(f"{name} is no plain file of at most {MAX_FILE_BYTES:,} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _refuse_to_replace(target: Path) -> None:
    # A mistyped target must not cost anyone a directory of something else.
    if target.exists() and not _names(target) <= FILES | {MANIFEST, MANIFEST_HASH}:
        raise BundleError(f"{target} is not a bundle and is not replaced")


def _replace(target: Path, files: Mapping[str, bytes]) -> None:
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        for name, raw in files.items():
            _write_durably(temporary / name, raw)
        _sync_directory(temporary)
        _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_directory(target.parent)


def _swap(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_durably(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
