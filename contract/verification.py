"""Verification: every check of a bundle, one by one, for whoever wants to see them pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract.bundle import ALL_FILES, Bundle, open_bundle
from contract.contents import check_contents
from contract.encoder import BundleEncoder
from contract.golden import check_golden, check_users, recorded_cases
from contract.probing import check_batches, check_shapes

PROVES = (
    "This proves integrity, not authorship: whoever can write the directory can sign it again. "
    "Compare the model with the one that was published."
)


@dataclass(frozen=True, slots=True)
class Check:
    """A check that a bundle has passed, and what it found."""

    name: str
    found: str


def verify(path: Path, *, threads: int = 1) -> Iterator[Check]:
    """Make every check, yielding those that pass; raise the BundleError of the first that fails.

    These are the checks of a serving process, and whether a text's vector depends on its batch.
    """
    bundle = open_bundle(path)
    yield Check("identity", f"model {bundle.model}, namespace {bundle.namespace}")
    yield Check("files", f"{len(ALL_FILES)} files, {size_of(bundle) / 1e6:.1f} MB, by sha256")
    check_contents(bundle)
    yield Check("contents", f"of one shape: dim {bundle.manifest.dim}, {len(bundle.topics)} topics")
    encoder = BundleEncoder(bundle, threads=threads)
    check_shapes(bundle, encoder)
    yield Check("graphs", "load and run on texts and histories of any length")
    report = check_golden(bundle, encoder)
    yield Check(
        "golden answers",
        f"{report.texts} vectors, cosine at least {report.min_cosine:.5f}; "
        f"{report.rankings} rankings, the same top",
    )
    yield Check("users", f"{check_users(bundle, encoder)} are weighted means of their histories")
    texts = [text for case in recorded_cases(bundle) for text in case.texts]
    yield Check("batches", f"alone and among others: cosine {check_batches(bundle, texts):.6f}")


def size_of(bundle: Bundle) -> int:
    """Return the bytes of all files that the manifest names."""
    return sum(map(len, bundle.files.values()))
