"""The bundle's encoder: order kept, nothing depends on the batch, budgets respected."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.bundle import NEWS_ENCODER, Bundle
from contract.encoder import BundleEncoder, by_length
from tests.builders import WORDS, a_bundle, a_catalogue
from tests.contract.forging import with_a_batch_mean

# Of every length, and enough for several batches of 1,024 tokens.
TEXTS = [" ".join(article.title for article in a_catalogue(1 + i % 7)) for i in range(200)] + [""]


def furthest_from_alone(encoder: BundleEncoder, texts: Sequence[str]) -> float:
    """Return the least cosine between a text's vector alone and in the batch of all."""
    together = encoder.vectors(texts)
    alone = np.concatenate([encoder.vectors([text]) for text in texts])
    return float((together * alone).sum(axis=1).min())


def test_results_come_in_the_order_of_the_texts(encoder: BundleEncoder) -> None:
    """Sorting by length inside is not seen outside."""
    order = np.random.default_rng(0).permutation(len(TEXTS))
    vectors, logits = encoder.vectors(TEXTS), encoder.topic_logits(TEXTS)
    shuffled = [TEXTS[i] for i in order]
    assert np.allclose(encoder.vectors(shuffled), vectors[order], atol=1e-6)
    assert np.allclose(encoder.topic_logits(shuffled), logits[order], atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(encoder: BundleEncoder) -> None:
    """Alone or among others, at any padding: the same vector."""
    assert furthest_from_alone(encoder, TEXTS) > 0.9999


def test_a_vector_that_depends_on_its_batch_is_noticed(bundle: Bundle) -> None:
    """The check above fails on a graph that mixes the texts of a batch."""
    files = {**bundle.files, NEWS_ENCODER: with_a_batch_mean(bundle.file(NEWS_ENCODER))}
    spoiled = BundleEncoder(Bundle(bundle.manifest, bundle.model, files))
    assert furthest_from_alone(spoiled, TEXTS) < 0.9999


def test_vectors_have_unit_length_and_the_manifests_size(tmp_path: Path) -> None:
    """(N, D) and (N, topics), float32, whatever D is."""
    encoder = BundleEncoder(a_bundle(tmp_path / "bundle", dim=12))
    vectors, logits = encoder.vectors(TEXTS), encoder.topic_logits(TEXTS)
    assert (vectors.shape, logits.shape) == ((len(TEXTS), 12), (len(TEXTS), len(WORDS)))
    assert vectors.dtype == logits.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_no_texts_give_no_vectors(encoder: BundleEncoder) -> None:
    """An empty list is no error and has the right width."""
    assert encoder.vectors([]).shape == (0, 8)
    assert encoder.topic_logits([]).shape == (0, len(WORDS))


def test_a_text_is_cut_at_the_specifications_tokens(encoder: BundleEncoder, bundle: Bundle) -> None:
    """What follows the last token that fits changes nothing."""
    long = "team " * bundle.text.max_tokens
    assert (encoder.vectors([long + "senate vote"]) == encoder.vectors([long])).all()


def test_a_reader_without_clicks_is_the_zero_vector(encoder: BundleEncoder) -> None:
    """All padding gives zeros, whatever is in the padding."""
    history = np.ones((2, 3, 8), dtype=np.float32)
    assert (encoder.users(history, np.zeros((2, 3), dtype=bool)) == 0).all()


def test_padding_does_not_change_a_reader(encoder: BundleEncoder) -> None:
    """Masked positions are not seen, and readers do not see each other."""
    clicks = encoder.vectors(TEXTS[:3])
    alone = encoder.users(clicks[None], np.ones((1, 3), dtype=bool))
    padded = np.full((2, 5, 8), 9, dtype=np.float32)
    padded[0, :3] = clicks
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], dtype=bool)
    assert encoder.users(padded, mask)[0] == pytest.approx(alone[0], abs=1e-6)


def test_a_history_of_another_type_is_converted(encoder: BundleEncoder) -> None:
    """Float64 or strided views are accepted."""
    history = np.random.default_rng(0).standard_normal((4, 3, 16))[:, :, ::2]
    assert encoder.users(history, np.ones((4, 3), dtype=bool)).dtype == np.float32


def test_several_threads_may_use_one_encoder(encoder: BundleEncoder) -> None:
    """Calls at the same time give what they give one after the other."""
    expected = encoder.vectors(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(encoder.vectors, [TEXTS] * 8))
    assert all((vectors == expected).all() for vectors in results)


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 200))
def test_batches_respect_the_budget_and_cover_everything(lengths: list[int], budget: int) -> None:
    """Each position is in one batch; a batch is within the budget or holds a single text."""
    batches = by_length(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 200))
def test_batches_are_as_few_as_their_order_allows(lengths: list[int], budget: int) -> None:
    """The first text of the next batch would not have fitted."""
    batches = by_length(lengths, budget)
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > budget


def test_importing_the_encoder_loads_no_runtime() -> None:
    """Whoever only names the type does not pay for ONNX Runtime."""
    check = "import sys, contract.encoder, contract.golden; print('onnxruntime' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
