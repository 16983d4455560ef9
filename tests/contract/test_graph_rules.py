"""What a graph of a bundle may hold: nothing beyond its own bytes, and the right interface."""

import json
from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

import onnx
import pytest
from onnx import helper, numpy_helper

from contract.bundle import NEWS_ENCODER, USER_ENCODER, Bundle
from contract.bundle_errors import BundleUnusable, GraphForeign, GraphMalformed, GraphMismatch
from contract.contents import check_contents
from contract.golden import verified_encoder
from contract.graph_rules import OPERATORS, Value, read_graph, require_interface
from tests.builders import a_news_encoder, a_tokenizer_json, a_user_encoder
from tests.contract.forging import replace

Damage = Callable[[onnx.ModelProto], object]


def damaged(damage: Damage, graph: bytes | None = None) -> bytes:
    """Return a sound graph after a change."""
    model = onnx.load_model_from_string(graph or a_user_encoder())
    damage(model)
    raw: bytes = model.SerializeToString()
    return raw


def external(model: onnx.ModelProto) -> None:
    """Point a tensor at another file."""
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")


def inner_graph(model: onnx.ModelProto) -> None:
    """Hide a graph in an attribute."""
    graph = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", graph))


def inner_tensor(model: onnx.ModelProto) -> None:
    """Hide a tensor in an attribute."""
    tensor = numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]))
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def inner_remark(model: onnx.ModelProto) -> None:
    """Put a remark on an attribute."""
    model.graph.node[0].attribute.append(helper.make_attribute("axis", 1, doc_string="x"))


FOREIGN: list[tuple[Damage, str]] = [
    (lambda m: setattr(m, "doc_string", "made by me"), "doc strings"),
    (lambda m: setattr(m.graph, "doc_string", "x"), "doc strings"),
    (lambda m: setattr(m.graph.node[0], "doc_string", "stack trace"), "doc strings"),
    (lambda m: setattr(m.graph.initializer[0], "doc_string", "x"), "doc strings"),
    (lambda m: setattr(m.graph.input[0], "doc_string", "x"), "doc strings"),
    (inner_remark, "doc strings"),
    (lambda m: m.metadata_props.add(key="author", value="me"), "metadata"),
    (lambda m: m.graph.metadata_props.add(key="a", value="b"), "metadata"),
    (lambda m: m.graph.node[0].metadata_props.add(key="a", value="b"), "metadata"),
    (lambda m: m.graph.initializer[0].metadata_props.add(key="a", value="b"), "metadata"),
    (lambda m: m.functions.add(name="f"), "functions"),
    (lambda m: m.training_info.add(), "training steps"),
    (lambda m: m.opset_import.append(helper.make_opsetid("my.ops", 1)), r"my\.ops"),
    (lambda m: setattr(m.graph.node[0], "domain", "my.ops"), r"my\.ops"),
    (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "operator Loop of 'ai.onnx'"),
    (external, "in another file"),
    (lambda m: m.graph.sparse_initializer.add(), "sparse"),
    (inner_graph, "graph within"),
    (inner_tensor, "tensor in an attribute"),
    (lambda m: setattr(m, "model_version", 3), "field 5 of Model, which no bundle needs"),
    (lambda m: m.graph.value_info.append(m.graph.input[0]), "field 13 of Graph"),
    (lambda m: m.graph.initializer[0].float_data.append(1.0), "field 4 of Tensor"),
    (lambda m: setattr(m.graph.input[0].type, "denotation", "x"), "field 6 of Type"),
]


@pytest.mark.parametrize(("damage", "named"), FOREIGN)
def test_a_foreign_graph_is_refused(damage: Damage, named: str) -> None:
    """The error names the file and what is wrong with it."""
    with pytest.raises(GraphForeign, match=named) as caught:
        read_graph(USER_ENCODER, damaged(damage))
    assert caught.value.file == USER_ENCODER


def test_what_older_bundles_run_stays_on_the_list() -> None:
    """A bundle that was right when it was written opens with every later version."""
    first = {
        "Add",
        "InstanceNormalization",
        "Mul",
        "Neg",
        "QuantizeLinear",
        "ReduceMax",
        "ReduceMin",
    }
    assert first <= OPERATORS[""]
    assert OPERATORS["com.microsoft"] >= {"MatMulIntegerToFloat", "MultiHeadAttention"}


@pytest.mark.parametrize("raw", [b"\xff\xff\xff not a graph", b"\x08", b"\x3a\x7f"])
def test_what_is_no_graph_is_refused(raw: bytes) -> None:
    """Bytes that are not ONNX are not a crash."""
    with pytest.raises(GraphMalformed, match=NEWS_ENCODER):
        read_graph(NEWS_ENCODER, raw)


def test_a_field_that_no_onnx_knows_is_refused() -> None:
    """Whatever a later version adds is refused until someone has thought about it."""
    with pytest.raises(GraphForeign, match="field 999 of Model"):
        read_graph(USER_ENCODER, a_user_encoder() + b"\xba\x3e\x01x")


def test_a_graph_tells_what_it_takes_and_gives() -> None:
    """Types and axes by name; a free axis is its name, a fixed one its length."""
    facts = read_graph(NEWS_ENCODER, a_news_encoder())
    assert facts.inputs == {name: Value("int64", ("B", "T")) for name in ("ids", "mask")}
    assert facts.outputs["vector"] == Value("float32", ("B", 8))
    assert facts.outputs["topic_logits"] == Value("float32", ("B", 4))
    assert facts.rows == {"ids": len(json.loads(a_tokenizer_json())["model"]["vocab"])}


def axis(values: object, number: int, **fields: object) -> None:
    """Set one axis of an input or output: its length, its name or neither."""
    dim = values.type.tensor_type.shape.dim[number]  # type: ignore[attr-defined]
    dim.Clear()
    for name, value in fields.items():
        setattr(dim, name, value)


MISMATCHES: list[tuple[str, Damage, str]] = [
    (NEWS_ENCODER, lambda m: axis(m.graph.input[0], 0, dim_value=1), r"ids is int64 \(1, T\)"),
    (NEWS_ENCODER, lambda m: axis(m.graph.input[1], 1, dim_param="U"), r"mask is int64 \(B, U\)"),
    (NEWS_ENCODER, lambda m: axis(m.graph.input[0], 1, dim_param="B"), r"ids is int64 \(B, B\)"),
    (NEWS_ENCODER, lambda m: axis(m.graph.output[0], 0), r"vector is float32 \(\?, 8\)"),
    (NEWS_ENCODER, lambda m: axis(m.graph.output[0], 1, dim_value=9), r"expected .*\(batch, 8\)"),
    (NEWS_ENCODER, lambda m: axis(m.graph.output[1], 1, dim_value=3), r"topic_logits .*\(B, 3\)"),
    (NEWS_ENCODER, lambda m: setattr(m.graph.input[0], "name", "tokens"), "inputs tokens, mask"),
    (NEWS_ENCODER, lambda m: m.graph.output.pop(), "outputs vector; expected vector, topic_logits"),
    (USER_ENCODER, lambda m: axis(m.graph.input[0], 2, dim_param="D"), r"history .*\(B, H, D\)"),
    (USER_ENCODER, lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), "history"),
    (USER_ENCODER, lambda m: setattr(m.graph.input[1].type.tensor_type, "elem_type", 7), "int64"),
    (USER_ENCODER, lambda m: setattr(m.graph.input[1].type.tensor_type, "elem_type", 8), "type 8"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "damage", "named"), MISMATCHES)
def test_a_graph_of_another_interface_is_refused(
    bundle: Bundle, file: str, damage: Damage, named: str
) -> None:
    """Every axis and type is that of the manifest, and what is batched stays free."""
    graph = damaged(damage, bundle.file(file))
    with pytest.raises(GraphMismatch, match=named) as caught:
        check_contents(changed(bundle, files={**bundle.files, file: graph}))
    assert caught.value.file == file


def test_free_axes_may_have_any_name() -> None:
    """What matters is which of them are the same."""
    found = read_graph(USER_ENCODER, a_user_encoder())
    for batch, clicks in (("B", "H"), ("H", "B"), ("x", "y")):
        history = Value("float32", (batch, clicks, 8))
        require_interface(
            USER_ENCODER,
            found,
            inputs={"history": history, "mask": Value("bool", (batch, clicks))},
            outputs={"user": Value("float32", (batch, 8))},
        )


@pytest.mark.parametrize("damage", [external, inner_graph, MISMATCHES[-2][1]])
def test_a_serving_process_refuses_it_before_onnx_runtime(path: Path, damage: Damage) -> None:
    """Signed or not: the rules hold on opening, not only at export."""
    replace(path, USER_ENCODER, damaged(damage))
    with pytest.raises(BundleUnusable, match=USER_ENCODER):
        verified_encoder(path)
