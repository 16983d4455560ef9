"""A tiny bundle and its encoder for all tests of the contract."""

import shutil
from pathlib import Path

import pytest

from contract.bundle import Bundle, write_bundle
from contract.encoder import BundleEncoder
from tests.builders import a_bundle, bundle_facts


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a tiny valid bundle."""
    return a_bundle(tmp_path_factory.mktemp("contract") / "bundle")


@pytest.fixture(scope="package")
def encoder(bundle: Bundle) -> BundleEncoder:
    """Give the tiny bundle's encoder."""
    return BundleEncoder(bundle)


@pytest.fixture(scope="package")
def sound(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sound bundle's directory, which stays sound."""
    path = tmp_path_factory.mktemp("sound") / "bundle"
    write_bundle(path, bundle.files, bundle_facts())
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    """Give a copy of it, to be damaged."""
    return shutil.copytree(sound, tmp_path / "bundle")
