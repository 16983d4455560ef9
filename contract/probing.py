"""Probing: run a bundle's graphs on texts and histories of unusual shapes, and look at the answers.

Golden answers say that an encoder is the one that was exported; probes say that it can serve.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from contract.article import Vectors
from contract.bundle import NEWS_ENCODER, TOKENIZER, USER_ENCODER, Bundle
from contract.bundle_errors import GraphFailed, refusing
from contract.encoder import BundleEncoder
from contract.invariance import batch_cosine
from contract.tokens import TextTokenizer

# A text's vector may not depend on its batch (architecture section 3).
MIN_BATCH_COSINE = 0.9999
# Rounding of int8 graphs leaves a vector's length within this of 1.
LENGTH_TOLERANCE = 1e-3
# How far a user vector may be from the mean that the logits make.
MEAN_TOLERANCE = 1e-5
BATCH_TEXTS = 64


def check_shapes(bundle: Bundle, encoder: BundleEncoder) -> None:
    """Encode nothing, a text longer than fits, readers without clicks; or raise GraphFailed."""
    texts = ["", "news " * bundle.text.max_tokens, "news"]
    with refusing(GraphFailed, NEWS_ENCODER):
        vectors, logits = encoder.vectors(texts), encoder.topic_logits(texts)
    if not np.abs(_lengths(vectors) - 1).max() < LENGTH_TOLERANCE:
        raise GraphFailed(NEWS_ENCODER, "a vector's length is not 1")
    if not np.isfinite(logits).all():
        raise GraphFailed(NEWS_ENCODER, "a topic logit is no number")
    _check_readers(bundle, encoder)


def check_batches(bundle: Bundle, texts: Sequence[str]) -> float:
    """Return how near a text's vector alone is to itself in any batch: the least cosine.

    Raise GraphFailed where it depends on the batch.
    """
    longest = bundle.text.max_tokens
    tokenizer = TextTokenizer(bundle.file(TOKENIZER), longest)
    rows, graph = tokenizer.rows(texts[:BATCH_TEXTS]), bundle.file(NEWS_ENCODER)
    with refusing(GraphFailed, NEWS_ENCODER):
        least = batch_cosine(graph, rows, pad_id=tokenizer.pad_id, max_tokens=longest)
    if not least >= MIN_BATCH_COSINE:
        raise GraphFailed(
            NEWS_ENCODER,
            f"a text's vector depends on its batch: cosine {least:.4f} to the same text alone, "
            f"at least {MIN_BATCH_COSINE} needed",
        )
    return least


def check_means(encoder: BundleEncoder, histories: Iterable[Vectors]) -> None:
    """Compare users with the means that their histories' logits make; or raise GraphFailed.

    Who serves keeps a logit for each article, and asks the user encoder for nothing else
    (`BundleEncoder.click_logits`). Each history is (H, D).
    """
    for history in histories:
        with refusing(GraphFailed, USER_ENCODER):
            logits = encoder.click_logits(history).astype(np.float64)
            seen = encoder.users(history[None], np.ones((1, len(history)), bool))[0]  # (D,)
        shares = np.exp(logits - logits.max())
        user = (shares / shares.sum()) @ history  # (D,)
        # Written so that NaN is refused too.
        if not np.abs(seen - user).max() <= MEAN_TOLERANCE:
            raise GraphFailed(USER_ENCODER, "a user vector is no weighted mean of the history")


def _check_readers(bundle: Bundle, encoder: BundleEncoder) -> None:
    history = np.full((3, bundle.text.history, bundle.manifest.dim), 0.1, dtype=np.float32)
    mask = np.ones(history.shape[:2], dtype=bool)  # (B, H)
    mask[1, 1:], mask[2] = False, False
    with refusing(GraphFailed, USER_ENCODER):
        full, short, none = encoder.users(history, mask)  # (D,) each
    if not (np.isfinite(full).all() and np.isfinite(short).all()):
        raise GraphFailed(USER_ENCODER, "a reader's vector holds what is no number")
    if none.any():
        raise GraphFailed(USER_ENCODER, "a reader without clicks is not the zero vector")


def _lengths(vectors: Vectors) -> Vectors:
    with np.errstate(all="ignore"):  # what overflows is not of length 1
        return np.asarray(np.linalg.norm(vectors, axis=1))
