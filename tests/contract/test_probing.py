"""Probes: graphs that load and yet cannot serve are refused, each for what it does."""

from collections.abc import Sequence
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest

from contract.article import Mask, Vectors
from contract.bundle import NEWS_ENCODER, USER_ENCODER, Bundle
from contract.bundle_errors import GraphFailed, GraphMalformed
from contract.encoder import BundleEncoder
from contract.probing import check_batches, check_shapes
from tests.builders import golden_cases
from tests.contract.forging import blind_to_the_mask, with_a_batch_mean

TEXTS = golden_cases()[-1]["candidates"]


class Spoiled:
    """An encoder one of whose answers is spoiled."""

    def __init__(self, encoder: BundleEncoder, **spoil: Any) -> None:
        self._encoder, self._spoil = encoder, spoil

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode, then spoil with a function of the vectors."""
        return self._spoiled("vectors", self._encoder.vectors(texts))

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Classify, then spoil."""
        return self._spoiled("topic_logits", self._encoder.topic_logits(texts))

    def users(self, history: Vectors, mask: Mask) -> Vectors:
        """Encode readers, then spoil."""
        return self._spoiled("users", self._encoder.users(history, mask))

    def _spoiled(self, name: str, answer: Vectors) -> Vectors:
        return self._spoil.get(name, lambda x: x)(answer)


def failing(_: Vectors) -> Vectors:
    """Fail as ONNX Runtime does."""
    raise RuntimeError("Non-zero status code returned while running Gather node")


def test_a_sound_encoder_passes(bundle: Bundle, encoder: BundleEncoder) -> None:
    """What the tests below see refused is accepted before they touch it."""
    check_shapes(bundle, Spoiled(encoder))  # type: ignore[arg-type]
    assert check_batches(bundle, TEXTS) > 0.9999


@pytest.mark.parametrize(
    ("spoil", "file", "problem"),
    [
        ({"vectors": failing}, NEWS_ENCODER, "RuntimeError: Non-zero status"),
        ({"vectors": lambda x: 2 * x}, NEWS_ENCODER, "length is not 1"),
        ({"vectors": lambda x: x * np.nan}, NEWS_ENCODER, "length is not 1"),
        ({"vectors": lambda x: x + np.float32(3e38)}, NEWS_ENCODER, "length is not 1"),
        ({"topic_logits": failing}, NEWS_ENCODER, "RuntimeError"),
        ({"topic_logits": lambda x: x * np.inf}, NEWS_ENCODER, "topic logit is no number"),
        ({"users": failing}, USER_ENCODER, "RuntimeError"),
        ({"users": lambda x: x * np.nan}, USER_ENCODER, "what is no number"),
        ({"users": lambda x: x + 1}, USER_ENCODER, "without clicks is not the zero vector"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_answers_that_cannot_serve_are_refused(
    bundle: Bundle, encoder: BundleEncoder, spoil: dict[str, Any], file: str, problem: str
) -> None:
    """The graph is named, and what it did."""
    with pytest.raises(GraphFailed, match=problem) as caught:
        check_shapes(bundle, Spoiled(encoder, **spoil))  # type: ignore[arg-type]
    assert caught.value.file == file


def test_a_vector_that_depends_on_its_batch_is_refused(bundle: Bundle) -> None:
    """Caching, coalescing and golden answers would all be lies."""
    graph = with_a_batch_mean(bundle.file(NEWS_ENCODER))
    spoiled = changed(bundle, files={**bundle.files, NEWS_ENCODER: graph})
    with pytest.raises(GraphFailed, match="depends on its batch: cosine"):
        check_batches(spoiled, TEXTS)


def test_a_vector_that_depends_on_its_padding_is_refused(bundle: Bundle) -> None:
    """Among texts of its own length it would never be noticed."""
    graph = blind_to_the_mask(bundle.file(NEWS_ENCODER))
    spoiled = changed(bundle, files={**bundle.files, NEWS_ENCODER: graph})
    with pytest.raises(GraphFailed, match="depends on its batch: cosine"):
        check_batches(spoiled, ["news"] * 3)


def test_a_graph_that_does_not_load_is_refused_by_name(bundle: Bundle) -> None:
    """ONNX Runtime's own errors do not get through."""
    for file in (NEWS_ENCODER, USER_ENCODER):
        cut = changed(bundle, files={**bundle.files, file: bundle.file(file)[:-60]})
        with pytest.raises(GraphMalformed) as caught:
            BundleEncoder(cut)
        assert caught.value.file == file
