"""The bundle: the directory that export writes and the service loads, verified or not at all.

It proves integrity, not authorship: whoever can write the directory can write its manifest.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from contract.bundle_errors import (
    BundleFormatUnknown,
    BundleMissing,
    FileAltered,
    FileMissing,
    FileResized,
    FileUnlisted,
    ManifestAltered,
    ManifestMalformed,
    NamespaceMismatch,
)
from contract.bundle_folder import names_in, read_plain, refuse_to_replace, replace_whole
from contract.lines import place_and_problem
from contract.text import TextSpec

FORMAT_VERSION = 1
MANIFEST, MANIFEST_HASH = "manifest.json", "manifest.sha256"
NEWS_ENCODER, USER_ENCODER = "news_encoder.onnx", "user_encoder.onnx"
CLICK_MODEL, TOKENIZER, TOPICS = "click_model.json", "tokenizer.json", "topics.json"
GOLDEN, MODEL_CARD = "golden.jsonl", "MODEL_CARD.md"
FILES = frozenset({NEWS_ENCODER, USER_ENCODER, CLICK_MODEL, TOKENIZER, TOPICS, GOLDEN, MODEL_CARD})
ALL_FILES = FILES | {MANIFEST, MANIFEST_HASH}

# Nothing larger is read into memory, whatever the directory holds. No ONNX graph can be larger.
MAX_GRAPH_BYTES = 2 * 1024**3
MAX_TEXT_BYTES = 64 * 1024**2
MAX_MANIFEST_BYTES = 4 * 1024**2
MAX_TOKENS, MAX_HISTORY = 8_192, 10_000

Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class FileEntry(BaseModel):
    """What the manifest says of one file: its sha256 in hex and its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size: int


class Facts(BaseModel):
    """What is said of a bundle beside its files: its shape, how good it is, where it came from."""

    # NaN stays NaN, which canonical JSON refuses; Pydantic's default would write null instead.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    dim: Count
    layers: Count
    topics: Count
    text: TextSpec
    quality: dict[str, Any]
    provenance: dict[str, Any]


class Manifest(Facts):
    """The bundle's own description; its hash is the bundle's identity (`model`)."""

    format_version: Literal[1] = 1
    namespace: str
    files: dict[str, FileEntry]


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
    facts: Facts,
    *,
    check: Callable[[Path], Bundle] | None = None,
) -> Bundle:
    """Write a bundle under a temporary name, read it back, and rename it: never half there.

    `check` reads it back and raises what it refuses; without one, `open_bundle` does. A bundle
    already at `target` is replaced by two renames (a kill between them leaves none there);
    anything else there is refused.
    """
    _require_exactly(set(files), FILES)
    refuse_to_replace(target, ALL_FILES)
    manifest = Manifest(
        namespace=namespace_of(files[NEWS_ENCODER], files[TOKENIZER], facts.text),
        files={name: FileEntry(sha256=_sha256(raw), size=len(raw)) for name, raw in files.items()},
        **{name: getattr(facts, name) for name in Facts.model_fields},
    )
    raw = canonical_json(manifest.model_dump(mode="json"))
    signed = {**files, MANIFEST: raw, MANIFEST_HASH: f"{_sha256(raw)}\n".encode()}
    return replace_whole(target, signed, check=check or open_bundle)


def open_bundle(path: Path) -> Bundle:
    """Read and verify a bundle; raise the BundleError that says what is wrong with it.

    What the files hold is `contract.contents`' to check, what they answer `contract.golden`'s.
    """
    present = names_in(path)
    if MANIFEST not in present:
        raise BundleMissing(str(path), f"holds no {MANIFEST}: not a bundle")
    raw = read_plain(path, MANIFEST, at_most=MAX_MANIFEST_BYTES)
    _require_hash(path, raw)
    manifest = _parse(raw)
    _require_exactly(present, ALL_FILES)
    files = {name: _verified(path, name, entry) for name, entry in manifest.files.items()}
    found = namespace_of(files[NEWS_ENCODER], files[TOKENIZER], manifest.text)
    if found != manifest.namespace:
        raise NamespaceMismatch(
            MANIFEST, f"the files make namespace {found}, not {manifest.namespace}"
        )
    return Bundle(manifest=manifest, model=_sha256(raw)[:16], files=files)


def canonical_json(value: object) -> bytes:
    """Write JSON in the one form that is hashed: sorted keys, no blanks, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _require_exactly(found: set[str], expected: frozenset[str]) -> None:
    for name in sorted(expected - found):
        raise FileMissing(name, "is not there")
    for name in sorted(found - expected):
        raise FileUnlisted(name, f"a bundle holds exactly {', '.join(sorted(expected))}")


def _require_hash(path: Path, manifest: bytes) -> None:
    expected = f"{_sha256(manifest)}\n".encode()
    if read_plain(path, MANIFEST_HASH, at_most=MAX_MANIFEST_BYTES) != expected:
        raise ManifestAltered(MANIFEST, f"is not the one that {MANIFEST_HASH} names")


def _parse(raw: bytes) -> Manifest:
    _require_format(raw)
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise ManifestMalformed(MANIFEST, place_and_problem(error)) from error
    for problem in _problems(manifest, raw):
        raise ManifestMalformed(MANIFEST, problem)
    return manifest


def _require_format(raw: bytes) -> None:
    # Before anything else: another version may have other fields.
    try:
        found = from_json(raw)
    except ValueError as error:
        raise ManifestMalformed(MANIFEST, f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ManifestMalformed(MANIFEST, "not a JSON object")
    version = found.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise BundleFormatUnknown(
            MANIFEST, f"format_version is {version!r}, this build reads {FORMAT_VERSION}"
        )


def _problems(manifest: Manifest, raw: bytes) -> list[str]:
    odd = sorted(set(manifest.files) ^ FILES)
    known = {
        f"files: names a file too many or too few: {', '.join(map(repr, odd))}": odd,
        f"dim: {manifest.dim}": not manifest.dim,
        f"text.max_tokens: more than {MAX_TOKENS:,}": manifest.text.max_tokens > MAX_TOKENS,
        f"text.history: more than {MAX_HISTORY:,}": manifest.text.history > MAX_HISTORY,
        "not in canonical form": not _is_canonical(manifest, raw),
    }
    return [problem for problem, holds in known.items() if holds]


def _is_canonical(manifest: Manifest, raw: bytes) -> bool:
    # So a manifest has one reading: no key twice, no number as text, no NaN.
    try:
        return raw == canonical_json(manifest.model_dump(mode="json"))
    except ValueError:
        return False


def _verified(path: Path, name: str, entry: FileEntry) -> bytes:
    is_graph = name in (NEWS_ENCODER, USER_ENCODER)
    raw = read_plain(path, name, at_most=MAX_GRAPH_BYTES if is_graph else MAX_TEXT_BYTES)
    if len(raw) != entry.size:
        raise FileResized(name, f"{len(raw):,} bytes, the manifest says {entry.size:,}")
    found = _sha256(raw)
    if found != entry.sha256:
        raise FileAltered(name, f"sha256 {found[:12]}…, the manifest says {entry.sha256[:12]}…")
    return raw


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
