"""The graphs: the torch model's numbers, free axes, one fused attention node per layer."""

import re

import numpy as np
import onnx
import pytest
import torch

from export.errors import UnsupportedModel
from export.graph import user_encoder_graph
from export.parameters import news_parameters, user_parameters
from export.precision import Float32, Precision
from export.quantize import RowwiseInt8
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
PRECISIONS = (Float32(), RowwiseInt8())


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


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
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


@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (64, 50)])
def test_the_user_encoder_gives_the_torch_models_numbers(shape: tuple[int, int]) -> None:
    """User vectors agree to 1e-4 at any batch and history length."""
    student = a_student()
    random = np.random.default_rng(1)
    history = random.standard_normal((*shape, 8)).astype(np.float32)
    mask = random.random(shape) > 0.4
    found = run(user_encoder_graph(user_parameters(student)), history=history, mask=mask)[0]
    with torch.no_grad():
        wanted = student.user_encoder(torch.from_numpy(history), torch.from_numpy(mask))
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_a_reader_without_clicks_gives_zeros() -> None:
    """An all-padding history is the zero vector, beside readers with clicks."""
    history = np.ones((2, 4, 8), dtype=np.float32)
    mask = np.array([[False] * 4, [True] * 4])
    user = run(user_encoder_graph(user_parameters(a_student())), history=history, mask=mask)[0]
    assert not user[0].any()
    np.testing.assert_allclose(user[1], 1.0, atol=1e-5)
