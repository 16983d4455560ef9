"""A tiny bundle and its encoder for all tests of the contract."""

import pytest

from contract.bundle import Bundle
from contract.encoder import BundleEncoder
from tests.builders import a_bundle


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a tiny valid bundle."""
    return a_bundle(tmp_path_factory.mktemp("contract") / "bundle")


@pytest.fixture(scope="package")
def encoder(bundle: Bundle) -> BundleEncoder:
    """Give the tiny bundle's encoder."""
    return BundleEncoder(bundle)
