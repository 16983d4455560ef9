"""The graphs: the torch model's numbers, free axes, one fused attention node per layer."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from transformers.activations import get_activation

from export.errors import UnsupportedModel
from export.graph import LOWEST_ACTIVE, user_encoder_graph
from export.nodes import Nodes
from export.parameters import news_parameters, user_parameters
from export.precision import Float32, Precision, StoredFloat16
from export.quantize import RowwiseInt8
from export.static_scales import StaticInt8
from tests.export.models import (
    MAX_TOKENS,
    PAD_IDS,
    a_graph,
    a_student,
    run,
    some_tokens,
)
from training.model import Student

SHAPES = ((1, 1), (2, 7), (5, MAX_TOKENS), (64, MAX_TOKENS))
PRECISIONS = (Float32(), RowwiseInt8(), StaticInt8())


def torch_answer(student: Student, ids: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Run the torch model: vectors and topic logits."""
    with torch.no_grad():
        tokens = torch.from_numpy(ids), torch.from_numpy(mask)
        vector = student.news_encoder(*tokens).vector
        return [vector.numpy(), student.topic_logits(*tokens).numpy()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", PAD_IDS)
def test_float32_gives_the_torch_models_numbers(family: str, shape: tuple[int, int]) -> None:
    """For each family and shape, vectors and topic logits agree to 1e-4."""
    student = a_student(family=family)
    tokens = some_tokens(*shape, pad_id=PAD_IDS[family])
    found = run(a_graph(student, Float32()), ids=tokens.ids, mask=tokens.mask)
    for graph, model in zip(found, torch_answer(student, tokens.ids, tokens.mask), strict=True):
        np.testing.assert_allclose(graph, model, atol=1e-4)


@pytest.mark.parametrize("which", ["query", "key", "value"])
def test_large_biases_of_attention_are_in_the_numbers(which: str) -> None:
    """A key's bias changes nothing and a value's is moved: float32 is still the torch model's."""
    student, tokens = a_student(), some_tokens(7, 9)
    before = torch_answer(student, tokens.ids, tokens.mask)[0]
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name.endswith(f"self.{which}.bias"):
                parameter.copy_(5 * torch.randn(parameter.shape))
    found = run(a_graph(student, Float32()), ids=tokens.ids, mask=tokens.mask)[0]
    after = torch_answer(student, tokens.ids, tokens.mask)[0]
    np.testing.assert_allclose(found, after, atol=1e-4)
    assert np.allclose(before, after, atol=1e-4) == (which == "key")


@pytest.mark.parametrize("activation", LOWEST_ACTIVE)
def test_no_activation_gives_less_than_its_lowest(activation: str) -> None:
    """The bound holds for torch's activation, and is not far below what it reaches."""
    x = torch.linspace(-30, 5, 1_000_001, dtype=torch.float64)
    activate: Any = get_activation(activation)  # type: ignore[no-untyped-call]
    lowest = float(activate(x).min())
    assert LOWEST_ACTIVE[activation] <= lowest <= LOWEST_ACTIVE[activation] + 1e-3


@pytest.mark.parametrize("activation", LOWEST_ACTIVE)
def test_every_listed_activation_is_the_torch_one(activation: str) -> None:
    """The activation is the configuration's."""
    student = a_student(activation=activation)
    tokens = some_tokens(5, 9)
    vector = run(a_graph(student, Float32()), ids=tokens.ids, mask=tokens.mask)[0]
    np.testing.assert_allclose(vector, torch_answer(student, tokens.ids, tokens.mask)[0], atol=1e-4)


def test_another_activation_is_refused() -> None:
    """An activation without a graph is named instead of approximated."""
    with pytest.raises(UnsupportedModel, match="mish"):
        a_graph(a_student(activation="mish"), Float32())


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_texts_longer_than_the_positions_are_refused(family: str) -> None:
    """A text specification that the model has no positions for cannot be exported."""
    with pytest.raises(UnsupportedModel, match="positions"):
        news_parameters(a_student(family=family), max_tokens=40)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_gives_unit_vectors(shape: tuple[int, int], precision: Precision) -> None:
    """One graph takes every batch and length."""
    tokens = some_tokens(*shape)
    vector, logits = run(a_graph(a_student(), precision), ids=tokens.ids, mask=tokens.mask)
    np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1.0, atol=1e-5)
    assert logits.shape == (shape[0], 4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_text_without_any_token_gives_finite_numbers(precision: Precision) -> None:
    """Nothing but padding is no reason for NaN, and does not touch its neighbours."""
    tokens = some_tokens(3, 5)
    tokens.mask[1] = 0
    graph = a_graph(a_student(), precision)
    vector = run(graph, ids=tokens.ids, mask=tokens.mask)[0]
    assert np.isfinite(vector).all()
    alone = run(graph, ids=tokens.ids[:1], mask=tokens.mask[:1])[0]
    np.testing.assert_allclose(vector[0], alone[0], atol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_axes_are_named_and_free(precision: Precision) -> None:
    """Batch and length are symbols; the dimension is a number."""
    graph = onnx.load_model_from_string(a_graph(a_student(), precision)).graph
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        "ids": ["batch", "length"],
        "mask": ["batch", "length"],
        "vector": ["batch", 8],
        "topic_logits": ["batch", 4],
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("layers", [1, 2])
def test_each_layer_has_one_fused_attention_node(layers: int, precision: Precision) -> None:
    """Attention is one node per layer, whatever the precision."""
    graph = onnx.load_model_from_string(a_graph(a_student(layers=layers), precision)).graph
    fused = [node for node in graph.node if node.op_type == "MultiHeadAttention"]
    assert len(fused) == layers
    assert {node.domain for node in fused} == {"com.microsoft"}


def operators_run(graph: bytes, folder: Path) -> set[str]:
    """Return the operators that are left when ONNX Runtime has optimised a graph."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(options.optimized_model_filepath)
    return {node.op_type for node in optimised.graph.node}


SLOW_FUSIONS = {"SkipLayerNormalization", "BiasGelu", "FastGelu"}


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_runtime_fuses_nothing_into_what_is_slower(
    precision: Precision, activation: str, tmp_path: Path
) -> None:
    """What normalises and activates is what the graph says."""
    run_by_it = operators_run(a_graph(a_student(activation=activation), precision), tmp_path)
    assert not run_by_it & SLOW_FUSIONS
    assert {"LayerNormalization", "MultiHeadAttention"} <= run_by_it


def normalised(operator: str) -> bytes:
    """Build a layer normalisation of a sum or a difference, whose shape is known."""
    nodes, shape = Nodes(), ("batch", "length", 4)
    ones = nodes.constant(np.ones(4, dtype=np.float32))
    x = nodes.add(operator, "a", "b")
    nodes.add("LayerNormalization", x, ones, ones, axis=-1, epsilon=1e-5, out="y")
    values = dict.fromkeys("ab", ("float32", shape))
    return nodes.to_bytes("sum", inputs=values, outputs={"y": ("float32", shape)})


def test_sums_would_be_fused(tmp_path: Path) -> None:
    """The test above can fail, which is why the graph subtracts what is negated."""
    model = onnx.load_model_from_string(a_graph(a_student(), Float32()))
    for node in model.graph.node:
        node.op_type = "Add" if node.op_type == "Sub" else node.op_type
    assert "BiasGelu" in operators_run(model.SerializeToString(), tmp_path)
    assert operators_run(normalised("Add"), tmp_path) == {"SkipLayerNormalization"}
    assert operators_run(normalised("Sub"), tmp_path) == {"Sub", "LayerNormalization"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_normalised_is_never_a_sum(precision: Precision) -> None:
    """ONNX Runtime knows no shape behind a fused node yet; when it does, nothing changes."""
    graph = onnx.load_model_from_string(a_graph(a_student(), precision)).graph
    made_by = {node.output[0]: node.op_type for node in graph.node}
    normalised = [n.input[0] for n in graph.node if n.op_type == "LayerNormalization"]
    assert [made_by[name] for name in normalised] == ["Sub"] * 5


@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_the_reference_is_stored_in_full(precision: Precision) -> None:
    """Float32 rounds nothing; what ships keeps its larger constants in two bytes or one."""
    graph = onnx.load_model_from_string(a_graph(a_student(), precision)).graph
    stored = {tensor.data_type for tensor in graph.initializer}
    exact = type(precision) is Float32
    assert (onnx.TensorProto.FLOAT16 in stored) != exact
    assert (onnx.TensorProto.INT8 in stored) != exact


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_parameters_give_the_same_bytes(precision: Precision) -> None:
    """Nothing in a graph depends on the time, the run or the machine."""
    assert a_graph(a_student(), precision) == a_graph(a_student(), precision)


def test_a_changed_parameter_changes_the_bytes() -> None:
    """The comparison above can fail."""
    student = a_student()
    before = a_graph(student, Float32())
    with torch.no_grad():
        student.news_encoder.dense.bias[0] += 1.0
    assert a_graph(student, Float32()) != before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_source_file_is_named_in_the_bytes(precision: Precision) -> None:
    """A traced export would hold its script's path and stack."""
    assert not re.search(rb"\.py|Traceback|/site-packages", a_graph(a_student(), precision))


@pytest.mark.parametrize(("precision", "difference"), [(Float32(), 1e-4), (StoredFloat16(), 1e-2)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (64, 50)])
def test_the_user_encoder_gives_the_torch_models_numbers(
    shape: tuple[int, int], precision: Precision, difference: float
) -> None:
    """User vectors agree at any batch and history length; stored in float16, to its digits."""
    student = a_student()
    random = np.random.default_rng(1)
    history = random.standard_normal((*shape, 8)).astype(np.float32)
    mask = random.random(shape) > 0.4
    graph = user_encoder_graph(user_parameters(student), precision)
    found = run(graph, history=history, mask=mask)[0]
    with torch.no_grad():
        wanted = student.user_encoder(torch.from_numpy(history), torch.from_numpy(mask))
    np.testing.assert_allclose(found, wanted.numpy(), atol=difference)


def test_a_reader_without_clicks_gives_zeros() -> None:
    """An all-padding history is the zero vector, beside readers with clicks."""
    history = np.ones((2, 4, 8), dtype=np.float32)
    mask = np.array([[False] * 4, [True] * 4])
    graph = user_encoder_graph(user_parameters(a_student()), Float32())
    user = run(graph, history=history, mask=mask)[0]
    assert not user[0].any()
    np.testing.assert_allclose(user[1], 1.0, atol=1e-5)
