"""Checks: refuse a graph or file that holds what no bundle may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

from export.errors import GraphRefused
from export.nodes import MICROSOFT

# Everything that `graph.py` may add; the service runs nothing else.
OPERATORS: Mapping[str, frozenset[str]] = {
    "": frozenset({
        "Add", "Cast", "CumSum", "Div", "Equal", "Expand", "Gather", "Gelu",
        "InstanceNormalization", "MatMul", "Max", "Mul", "Neg", "Not", "QuantizeLinear",
        "ReduceL2", "ReduceMax", "ReduceMin", "Relu", "Shape", "Sigmoid", "Slice", "Softmax",
        "Squeeze", "Sub", "Tanh", "Unsqueeze", "Where",
    }),
    MICROSOFT: frozenset({"MatMulIntegerToFloat", "MultiHeadAttention"}),
}  # fmt: skip

# A directory of the machine at hand; what stands before it shows that it is no URL.
MACHINE_PATH = re.compile(
    rb"(?<![\w.~:/-])/(?:home|root|Users|tmp|work|workspace|mnt|opt|usr|var)/[\w.-]{2,}"
    rb"|[A-Z]:\\(?:Users|Temp|Windows)\\"
)


def check_graph(name: str, raw: bytes) -> None:
    """Raise GraphRefused unless the graph is plain: known operators, its own data, no remarks."""
    try:
        model = onnx.load_model_from_string(raw)
    except DecodeError as error:
        raise GraphRefused(f"{name}: not an ONNX graph") from error
    for problem in _problems(model):
        raise GraphRefused(f"{name}: {problem}")


def check_paths(files: Mapping[str, bytes]) -> None:
    """Raise GraphRefused when a file names a directory of the machine it was made on."""
    for name, raw in files.items():
        found = MACHINE_PATH.search(raw)
        if found:
            raise GraphRefused(f"{name}: holds the path {found.group().decode(errors='replace')}")


def _problems(model: onnx.ModelProto) -> Iterator[str]:
    if model.functions or model.training_info:
        yield "holds functions or training steps of its own"
    if model.metadata_props or model.graph.metadata_props:
        yield "holds metadata"
    yield from _foreign_operators(model)
    yield from _remarks(model)
    yield from _foreign_data(model.graph)


def _foreign_operators(model: onnx.ModelProto) -> Iterator[str]:
    for domain in {opset.domain for opset in model.opset_import} - set(OPERATORS):
        yield f"imports the operators of {domain!r}"
    for node in model.graph.node:
        if node.op_type not in OPERATORS.get(node.domain, frozenset()):
            yield f"operator {node.op_type} of {node.domain or 'ai.onnx'!r} is not on the list"


def _remarks(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    parts = (
        model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output,
        *graph.value_info,
    )  # fmt: skip
    if any(part.doc_string for part in parts):
        yield "holds doc strings"
    if any(part.metadata_props for part in parts[2:]):
        yield "holds metadata"


def _foreign_data(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield "its data is in another file"
    # ONNX Runtime was seen to read external data of sparse tensors that onnx's checker refuses.
    if graph.sparse_initializer:
        yield "holds sparse tensors"
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield "holds a graph within the graph"
            if attribute.HasField("t") or attribute.HasField("sparse_tensor"):
                yield "holds a tensor in an attribute"
