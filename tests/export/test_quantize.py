"""Quantisation: close to float32, and no text depends on the batch it is encoded in."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.invariance import batch_cosine
from contract.vectors import cosine
from export.nodes import Nodes
from export.parity import ParityBudget
from export.precision import Float32, Precision
from export.quantize import (
    LEVELS,
    SHIFT,
    RowwiseInt8,
    quantise_rows,
    quantised_rows,
    saturation_free,
)
from export.static_scales import StaticInt8
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


@pytest.mark.parametrize("precision", [StaticInt8(), RowwiseInt8(), Float32()])
def test_a_text_has_one_vector_in_any_batch(precision: Precision) -> None:
    """Alone, in any batch, at any padding: the cosine keeps the budget."""
    assert invariance(precision) >= ParityBudget().batch_cosine


def test_plain_dynamic_int8_fails_that_test() -> None:
    """One scale for a whole batch makes a vector depend on its neighbours, and is found out."""
    assert invariance(PlainDynamicInt8()) < ParityBudget().batch_cosine


@pytest.mark.parametrize("int8", [RowwiseInt8(), StaticInt8()])
def test_int8_vectors_are_close_to_float32(int8: Precision) -> None:
    """The cosine to float32 keeps the budget, wide channel included."""
    student, tokens = a_student(), some_tokens(64, MAX_TOKENS)
    vectors = [
        run(a_graph(student, precision), ids=tokens.ids, mask=tokens.mask)[0]
        for precision in (Float32(), int8)
    ]
    assert cosine(*vectors).mean() >= ParityBudget().mean_cosine


def test_int8_makes_the_graph_a_quarter_of_the_size() -> None:
    """Tables and weights are int8 at widths that matter."""
    student = a_student(hidden=128, intermediate=512, heads=4, vocabulary=2_000)
    sizes = [len(a_graph(student, precision)) for precision in (Float32(), RowwiseInt8())]
    assert sizes[1] < 0.35 * sizes[0]


def row_levels(x: np.ndarray, *, lowest: float | None = None) -> list[np.ndarray]:
    """Quantise rows (B, T, W) in a graph: unsigned bytes, and the scales as they are used."""
    nodes = Nodes()
    quantised, scale = quantise_rows(nodes, "x", x.shape[-1], lowest=lowest)
    nodes.add("Sub", nodes.add("Cast", quantised, to=1), nodes.number(SHIFT), out="levels")
    nodes.add("Mul", scale, nodes.number(1.0), out="scales")
    shapes = {"levels": ("B", "T", x.shape[-1]), "scales": ("B", "T", 1)}
    outputs = {name: ("float32", shape) for name, shape in shapes.items()}
    graph = nodes.to_bytes("rows", inputs={"x": ("float32", shapes["levels"])}, outputs=outputs)
    return run(graph, x=x)


def some_numbers(*, like: float = 1.0) -> np.ndarray:
    """Draw rows (3, 5, 12) of every size, among them zeros and one wide channel."""
    random = np.random.default_rng(2)
    x = like * random.standard_normal((3, 5, 12)) * 10.0 ** random.integers(-3, 4, (3, 5, 1))
    x[0, 0], x[1, 1], x[2, 2, 7] = 0, [1e30, -1e30] * 6, 500
    return x.astype(np.float32)


def test_each_row_is_divided_by_its_own_scale() -> None:
    """What ONNX Runtime makes of a row is what NumPy does: the largest is at 127, zeros stay."""
    x = some_numbers()
    levels, scales = row_levels(x)
    largest = np.abs(x).max(axis=-1, keepdims=True)
    np.testing.assert_allclose(scales, np.maximum(largest, 1e-30) / np.float32(LEVELS), rtol=1e-6)
    np.testing.assert_array_equal(levels, np.rint(x / scales))
    assert (np.abs(levels).max(axis=-1) == LEVELS).sum() == 14


@pytest.mark.parametrize("lowest", [0.0, -0.17, -0.3])
def test_a_known_bound_spares_looking_for_the_smallest(lowest: float) -> None:
    """Numbers that are never far below zero fit, however small the largest of a row is."""
    x = np.maximum(some_numbers(), np.float32(lowest))
    levels, scales = row_levels(x, lowest=lowest)
    assert np.abs(levels).max() <= LEVELS
    np.testing.assert_array_equal(levels, np.rint(x / scales))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1e-6, 1e-3, 1.0, 100.0]))
def test_a_tables_scale_may_be_rounded_without_an_error(seed: int, size: float) -> None:
    """Rows of any size are within half a level, although their scales have two bytes."""
    table = (size * np.random.default_rng(seed).standard_normal((6, 8))).astype(np.float32)
    levels, scales = quantised_rows(table)
    steps = scales.astype(np.float32)
    assert np.isfinite(steps).all()
    assert (steps > 0).all()
    assert (np.abs(levels * steps - table) <= 0.57 * steps).all()


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


@pytest.mark.parametrize("precision", [RowwiseInt8(), StaticInt8()])
def test_no_weights_of_a_graph_can_saturate(precision: Precision) -> None:
    """Every weight that a graph multiplies bytes by leaves the room, smoothed ones too."""
    graph = onnx.load_model_from_string(a_graph(a_student(), precision)).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 2 * 6 + 1
    for node in products:
        lowest, highest = largest_pair_sums(constants[node.input[1]])
        assert INT16.min <= lowest
        assert highest <= INT16.max


def test_weights_scaled_by_their_maximum_could_saturate() -> None:
    """The check above can fail: the usual scale leaves no room for two large neighbours."""
    assert largest_pair_sums(np.full((2, 1), 127, dtype=np.int8))[1] > INT16.max


def test_a_weight_of_zeros_stays_zero() -> None:
    """No scale is zero, so nothing is divided by it."""
    levels, scales = saturation_free(np.zeros((3, 4), dtype=np.float32))
    assert not levels.any()
    assert (scales > 0).all()
