"""Quantisation: close to float32, and no text depends on the batch it is encoded in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.invariance import batch_cosine
from contract.vectors import cosine
from export.parity import ParityBudget
from export.precision import Float32, Precision
from export.quantize import RowwiseInt8, saturation_free
from tests.export.models import (
    MAX_TOKENS,
    PlainDynamicInt8,
    a_graph,
    a_student,
    run,
    some_rows,
    some_tokens,
)

INT16 = np.iinfo(np.int16)


def invariance(precision: Precision) -> float:
    """Measure a tiny student's batch cosine at a precision."""
    graph = a_graph(a_student(), precision)
    return batch_cosine(graph, some_rows(), pad_id=0, max_tokens=MAX_TOKENS)


@pytest.mark.parametrize("precision", [RowwiseInt8(), Float32()])
def test_a_text_has_one_vector_in_any_batch(precision: Precision) -> None:
    """Alone, in any batch, at any padding: the cosine keeps the budget."""
    assert invariance(precision) >= ParityBudget().batch_cosine


def test_plain_dynamic_int8_fails_that_test() -> None:
    """One scale for a whole batch makes a vector depend on its neighbours, and is found out."""
    assert invariance(PlainDynamicInt8()) < ParityBudget().batch_cosine


def test_int8_vectors_are_close_to_float32() -> None:
    """The cosine to float32 keeps the budget, wide channel included."""
    student, tokens = a_student(), some_tokens(64, MAX_TOKENS)
    vectors = [
        run(a_graph(student, precision), ids=tokens.ids, mask=tokens.mask)[0]
        for precision in (Float32(), RowwiseInt8())
    ]
    assert cosine(*vectors).mean() >= ParityBudget().mean_cosine


def test_int8_makes_the_graph_a_quarter_of_the_size() -> None:
    """Tables and weights are int8 at widths that matter."""
    student = a_student(hidden=128, intermediate=512, heads=4, vocabulary=2_000)
    sizes = [len(a_graph(student, precision)) for precision in (Float32(), RowwiseInt8())]
    assert sizes[1] < 0.35 * sizes[0]


def largest_pair_sums(levels: np.ndarray) -> tuple[int, int]:
    """Return the extremes of what AVX2 adds in 16 bits: two neighbours times up to 255."""
    padded = np.pad(levels.astype(int), ((0, levels.shape[0] % 2), (0, 0)))
    pairs = padded.reshape(-1, 2, levels.shape[1])
    highest = 255 * np.clip(pairs, 0, None).sum(axis=1).max()
    lowest = 255 * np.clip(pairs, None, 0).sum(axis=1).min()
    return int(lowest), int(highest)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 5), st.sampled_from([1e-6, 1, 9]))
def test_no_neighbouring_weights_can_saturate(seed: int, into: int, out: int, size: float) -> None:
    """Whatever the activations, two products never leave 16 bits, so AVX2 gives VNNI's answer."""
    weight = (size * np.random.default_rng(seed).standard_normal((out, into))).astype(np.float32)
    levels, scales = saturation_free(weight)
    lowest, highest = largest_pair_sums(levels)
    assert INT16.min <= lowest
    assert highest <= INT16.max
    assert np.abs(levels.T * scales[:, None] - weight).max() <= 0.51 * scales.max()


def test_weights_scaled_by_their_maximum_could_saturate() -> None:
    """The check above can fail: the usual scale leaves no room for two large neighbours."""
    assert largest_pair_sums(np.full((2, 1), 127, dtype=np.int8))[1] > INT16.max


def test_a_weight_of_zeros_stays_zero() -> None:
    """No scale is zero, so nothing is divided by it."""
    levels, scales = saturation_free(np.zeros((3, 4), dtype=np.float32))
    assert not levels.any()
    assert (scales > 0).all()
