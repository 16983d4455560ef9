"""Bundles damaged at random: refused always; signed again, refused or sound, and never a crash."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contract.bundle import (
    CLICK_MODEL,
    GOLDEN,
    MANIFEST,
    MANIFEST_HASH,
    NEWS_ENCODER,
    TOKENIZER,
    TOPICS,
    USER_ENCODER,
)
from contract.bundle_errors import BundleError, BundleTampered, ManifestAltered
from contract.golden import MIN_COSINE, check_golden, verified_encoder
from tests.contract.forging import ALL, flipped, replace, truncated

Damage = Callable[[bytes, np.random.Generator], bytes]

SHIPPED = Path(__file__).parents[2] / "bundles" / "newsbert"
FLIPS, CUTS = 100, 20
RESIGNED = 60
RESIGNED_SHIPPED = 20
# Everything but the hash file, which signing again makes anew.
SIGNED = sorted({*ALL} - {MANIFEST_HASH})
HARD = (NEWS_ENCODER, USER_ENCODER, CLICK_MODEL, TOKENIZER, TOPICS, GOLDEN)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the bundle that ships, to be damaged and mended."""
    target = tmp_path_factory.mktemp("shipped") / "bundle"
    return shutil.copytree(SHIPPED, target)


def damages(name: str) -> list[tuple[Damage, np.random.Generator]]:
    """Plan the damages of a file: the same in every run, others for every file."""
    seeds = np.random.SeedSequence(ALL.index(name)).spawn(FLIPS + CUTS)
    kinds = [flipped] * FLIPS + [truncated] * CUTS
    return [(kind, np.random.default_rng(s)) for kind, s in zip(kinds, seeds, strict=True)]


def refusals(path: Path, name: str) -> Counter[str]:
    """Damage a file again and again, expecting a refusal each time; count them by name."""
    raw, found = (path / name).read_bytes(), Counter[str]()
    for damage, random in damages(name):
        (path / name).write_bytes(damage(raw, random))
        with pytest.raises(BundleTampered) as caught:
            verified_encoder(path)
        found[type(caught.value).__name__] += 1
    (path / name).write_bytes(raw)
    return found


def outcomes(path: Path, name: str, times: int) -> Counter[str]:
    """Damage a file and sign the bundle again; count refusals by name, and the sound ones."""
    originals = {entry: (path / entry).read_bytes() for entry in ALL}
    random, found = np.random.default_rng(ALL.index(name)), Counter[str]()
    for _ in range(times):
        replace(path, name, flipped(originals[name], random))
        found[outcome(path)] += 1
        for entry in (name, MANIFEST, MANIFEST_HASH):
            (path / entry).write_bytes(originals[entry])
    return found


def outcome(path: Path) -> str:
    """Open as a serving process does: a refusal's name, or "sound" where all answers held."""
    try:
        bundle, encoder = verified_encoder(path)
    except BundleError as error:
        refusal = error
    else:
        assert check_golden(bundle, encoder).min_cosine >= MIN_COSINE
        return "sound"
    assert type(refusal) is not BundleError
    assert refusal.file in ALL
    assert str(refusal).isprintable()
    return type(refusal).__name__


def test_there_are_a_thousand_damages() -> None:
    """Over all files, as often over each."""
    assert sum(len(damages(name)) for name in ALL) >= 1_000


@pytest.mark.parametrize("name", ALL)
def test_every_damage_is_refused(path: Path, name: str) -> None:
    """Flipped or cut anywhere, a file is not the one that was written; mended, it is again."""
    found = refusals(path, name)
    assert found.total() == FLIPS + CUTS
    if name in (MANIFEST, MANIFEST_HASH):
        assert set(found) == {ManifestAltered.__name__}
    else:
        assert found == {"FileAltered": FLIPS, "FileResized": CUTS}
    verified_encoder(path)


@pytest.mark.parametrize("name", SIGNED)
def test_what_is_signed_again_is_refused_or_sound(path: Path, name: str) -> None:
    """Whoever edits and signs gets a refusal by name, or a bundle whose golden answers hold."""
    found = outcomes(path, name, RESIGNED)
    assert found.total() == RESIGNED
    # Only the manifest's own hashes, flipped, can be those of other files.
    assert name == MANIFEST or not {"FileAltered", "FileResized"} & set(found)
    # Were all refused for one reason, the damage would be of the test's making.
    assert len(found) > 1
    assert name not in HARD or found["sound"] < RESIGNED


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_damage_to_the_shipped_bundle_is_refused(shipped: Path, name: str) -> None:
    """The same on files of full size."""
    assert refusals(shipped, name).total() == FLIPS + CUTS
    verified_encoder(shipped)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNED)
def test_the_shipped_bundle_signed_again_is_refused_or_sound(shipped: Path, name: str) -> None:
    """The same on files of full size."""
    assert outcomes(shipped, name, RESIGNED_SHIPPED).total() == RESIGNED_SHIPPED
