"""The bundle: what is written is what is opened, and what its two identities say."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import (
    FILES,
    GOLDEN,
    MANIFEST,
    MANIFEST_HASH,
    NEWS_ENCODER,
    TOKENIZER,
    Bundle,
    canonical_json,
    namespace_of,
    open_bundle,
    write_bundle,
)
from contract.bundle_errors import FileMissing, FileUnlisted
from contract.text import TextSpec
from tests.builders import WORDS, a_bundle, a_click_model, bundle_facts
from tests.contract.forging import ALL


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
    with pytest.raises(FileMissing, match=drop):
        write_bundle(tmp_path / "bundle", files, bundle_facts())
    assert not list(tmp_path.iterdir())


def test_a_bundle_with_a_file_too_many_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    """Export cannot add one either."""
    with pytest.raises(FileUnlisted, match="exactly"):
        write_bundle(tmp_path / "bundle", {**bundle.files, "notes.txt": b""}, bundle_facts())


def test_quality_that_is_not_a_number_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    """A manifest is JSON: no NaN."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path / "b", bundle.files, bundle_facts(quality={"auc": float("nan")}))
    assert not list(tmp_path.iterdir())


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
