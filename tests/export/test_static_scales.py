"""Static scales: the same function, levels that fit what was seen, and bytes that do not wobble."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contract.article import Vectors
from contract.vectors import cosine
from export.calibration import LayerReach, Reach, measure_reach
from export.graph import news_encoder_graph
from export.nodes import Nodes
from export.parameters import Linear, NewsParameters, news_parameters
from export.parity import ParityBudget
from export.precision import Float32, Precision
from export.quantize import LEVELS
from export.static_scales import GRID, MARGIN, StaticInt8, level_steps, with_static_scales
from tests.export.models import MAX_TOKENS, a_student, run, some_rows, some_tokens
from training.model import Student


def parameters() -> NewsParameters:
    """Read a tiny student, one of whose channels is wide."""
    return news_parameters(a_student(), max_tokens=MAX_TOKENS)


def seen(factor: float = 1.0) -> Reach:
    """Calibrate that student, and pretend that its activations were larger by a factor."""
    reach = measure_reach(a_student(), some_rows())
    layers = tuple(
        LayerReach(factor * r.query, factor * r.attended, factor * r.intermediate)
        for r in reach.layers
    )
    return Reach(layers, factor * reach.projection)


def vectors(of: NewsParameters, precision: Precision) -> Vectors:
    """Encode random texts."""
    tokens = some_tokens(64, MAX_TOKENS)
    return run(news_encoder_graph(of, precision), ids=tokens.ids, mask=tokens.mask)[0]


def built(reach: Reach) -> bytes:
    """Build the graph that ships."""
    return news_encoder_graph(with_static_scales(parameters(), reach), StaticInt8())


def test_the_parameters_are_those_of_the_same_function() -> None:
    """In float32, only the levels that attention passes on are another unit."""
    static = with_static_scales(parameters(), seen())
    found, expected = (vectors(each, Float32()) for each in (static, parameters()))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not np.allclose(static.layers[0].value.weight, parameters().layers[0].value.weight)


READERS = ("query", "key", "value", "intermediate.dense", "projection", "news_encoder.dense")


def a_wide_student() -> Student:
    """Build a student with a channel that is a hundred times as wide and says nothing."""
    student = a_student()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter[3] = 100.0
            if (
                name.endswith(tuple(f"{reader}.weight" for reader in READERS))
                and "user" not in name
            ):
                parameter[..., 3] *= 1e-4
    return student


def test_one_scale_for_all_channels_is_over_the_budget() -> None:
    """The wide channel leaves the others no levels: what the factors of a channel are for."""
    student = a_wide_student()
    reach = measure_reach(student, some_rows())
    of = news_parameters(student, max_tokens=MAX_TOKENS)

    def flat(channels: np.ndarray) -> np.ndarray:
        return np.full(len(channels), MARGIN * channels.max() / LEVELS, dtype=np.float32)

    layers = tuple(
        replace(
            layer,
            query=replace(layer.query, steps=flat(r.query)),
            attended=replace(layer.attended, steps=flat(r.attended)),
            intermediate=replace(layer.intermediate, steps=flat(r.intermediate)),
        )
        for layer, r in zip(of.layers, reach.layers, strict=True)
    )
    exact = vectors(of, Float32())
    least = ParityBudget().mean_cosine
    assert cosine(exact, vectors(replace(of, layers=layers), StaticInt8())).mean() < least
    assert cosine(exact, vectors(with_static_scales(of, reach), StaticInt8())).mean() >= least


@given(st.integers(0, 10_000))
def test_what_was_seen_fits_its_levels(seed: int) -> None:
    """Each channel's largest magnitude, and a quarter more, is at most 127 levels; one needs them.

    Both factors are rounded up to the grid, so up to two of its steps are left over.
    """
    random = np.random.default_rng(seed)
    reach = random.uniform(0, 30, 12) ** 2
    weights = [random.standard_normal((5, 12)).astype(np.float32) for _ in range(3)]
    steps = level_steps(reach, *weights)
    levels = MARGIN * reach / steps
    assert levels.max() <= LEVELS * 1.0001
    assert levels.max() >= LEVELS / 2 ** (2 / GRID)


def test_channels_and_columns_of_zeros_have_a_step() -> None:
    """Nothing is divided by zero, and no other channel pays for it."""
    reach, weight = np.array([0.0, 1.0, 2.0]), np.array([[1.0, 0.0, 2.0]], dtype=np.float32)
    steps = level_steps(reach, weight)
    assert np.isfinite(steps).all()
    assert (steps > 0).all()


def test_only_what_follows_the_activation_has_a_scale_per_row() -> None:
    """Elsewhere nothing is looked for in a row."""
    graph = onnx.load_model_from_string(built(seen())).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("ReduceMax") == 2
    assert "ReduceMin" not in operators


@pytest.mark.parametrize(("factor", "same"), [(1 + 1e-7, True), (1 - 1e-7, True), (1.1, False)])
def test_another_machines_rounding_changes_no_byte(factor: float, same: bool) -> None:
    """Scales lie on a grid: last digits do not move them, a tenth does."""
    assert (built(seen(factor)) == built(seen())) == same


def test_far_beyond_what_was_seen_vectors_are_still_of_unit_length() -> None:
    """Levels are cut off, not wrapped around."""
    graph, tokens = built(seen(0.01)), some_tokens(64, MAX_TOKENS)
    vector = run(graph, ids=tokens.ids, mask=tokens.mask)[0]
    np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("unit", [1.0, 0.05])
def test_a_dense_layer_gives_the_numbers_of_float32(unit: float) -> None:
    """Product and bias, whether levels are found here or come as they are."""
    random = np.random.default_rng(4)
    x = random.uniform(-100, 100, (3, 5, 12)).astype(np.float32) * np.float32(unit)
    weight, bias = (random.standard_normal(shape).astype(np.float32) for shape in ((7, 12), (7,)))
    part = Linear(weight, 20 * bias, steps=np.full(12, unit, dtype=np.float32))
    nodes = Nodes()
    nodes.add("Identity", StaticInt8().per_token(nodes, "x", part)[0], out="y")
    values = {name: {name: ("float32", ("B", "T", size))} for name, size in (("x", 12), ("y", 7))}
    found = run(nodes.to_bytes("dense", inputs=values["x"], outputs=values["y"]), x=x)[0]
    # Half a level of each input, and half a level of each weight.
    np.testing.assert_allclose(found, x @ weight.T + part.bias, atol=unit * 12)
    assert np.abs(part.bias).max() > unit * 12
