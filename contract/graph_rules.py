"""What a graph of a bundle may hold, asked of its bytes before ONNX Runtime sees them.

A graph is read by the part of ONNX's schema that the project's own graphs use; any other field is
refused, so whatever a later ONNX adds is refused until someone has thought about it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from contract.bundle_errors import GraphForeign, GraphMalformed, GraphMismatch, refusing

# A free axis by its name, a fixed one by its length.
Axes: TypeAlias = tuple[int | str, ...]

# Operators that a graph may run, by domain; "" is ai.onnx. None of them runs a graph of its own.
OPERATORS: Mapping[str, frozenset[str]] = {
    "": frozenset({
        "Add", "Cast", "CumSum", "Div", "Equal", "Expand", "Gather", "Gelu",
        "InstanceNormalization", "LayerNormalization", "MatMul", "Max", "Mul", "Neg", "Not",
        "QuantizeLinear", "ReduceL2", "ReduceMax", "ReduceMin", "ReduceSum", "Relu", "Shape",
        "Sigmoid", "Slice", "Softmax", "Squeeze", "Sub", "Tanh", "Unsqueeze", "Where",
    }),
    "com.microsoft": frozenset({"MatMulIntegerToFloat", "MultiHeadAttention"}),
}  # fmt: skip

# Fields by message: number and kind, "*" before what may be repeated (onnx.proto).
FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Model": {
        "ir_version": (1, "int"),
        "producer_name": (2, "bytes"),
        "graph": (7, "Graph"),
        "opset_import": (8, "*Opset"),
    },
    "Opset": {"domain": (1, "bytes"), "version": (2, "int")},
    "Graph": {
        "node": (1, "*Node"),
        "name": (2, "bytes"),
        "initializer": (5, "*Tensor"),
        "input": (11, "*Value"),
        "output": (12, "*Value"),
    },
    "Node": {
        "input": (1, "*bytes"),
        "output": (2, "*bytes"),
        "name": (3, "bytes"),
        "op_type": (4, "bytes"),
        "attribute": (5, "*Attribute"),
        "domain": (7, "bytes"),
    },
    "Attribute": {
        "name": (1, "bytes"),
        "f": (2, "float"),
        "i": (3, "int"),
        "s": (4, "bytes"),
        "floats": (7, "*float"),
        "ints": (8, "*int"),
        "type": (20, "int"),
    },
    "Tensor": {
        "dims": (1, "*int"),
        "data_type": (2, "int"),
        "name": (8, "bytes"),
        "raw_data": (9, "bytes"),
    },
    "Value": {"name": (1, "bytes"), "type": (2, "Type")},
    "Type": {"tensor_type": (1, "TensorType")},
    "TensorType": {"elem_type": (1, "int"), "shape": (2, "Shape")},
    "Shape": {"dim": (1, "*Axis")},
    "Axis": {"dim_value": (1, "int"), "dim_param": (2, "bytes")},
}
# What the fields are that must not be there, as far as they are worth a name.
REFUSED: Mapping[str, tuple[tuple[str, int], ...]] = {
    "doc strings": (
        ("Model", 6), ("Graph", 10), ("Node", 6), ("Attribute", 13), ("Tensor", 12), ("Value", 3),
    ),
    "metadata": (("Model", 14), ("Graph", 16), ("Node", 9), ("Tensor", 16), ("Value", 4)),
    "training steps": (("Model", 20),),
    "functions of its own": (("Model", 25),),
    "sparse tensors": (("Graph", 15), ("Attribute", 22), ("Attribute", 23)),
    "a tensor whose data is in another file": (("Tensor", 13), ("Tensor", 14)),
    "a graph within the graph": (("Attribute", 6), ("Attribute", 11)),
    "a tensor in an attribute": (("Attribute", 5), ("Attribute", 10)),
}  # fmt: skip
ELEMENTS: Mapping[int, str] = {1: "float32", 7: "int64", 9: "bool"}


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: the type of its elements and its axes."""

    element: str
    axes: Axes


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph takes and gives, by name.

    `rows` are those of the smallest table that it looks each input up in, where it does so.
    """

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    rows: Mapping[str, int]


def read_graph(file: str, raw: bytes) -> GraphFacts:
    """Return a graph's facts; raise GraphMalformed or GraphForeign unless it is plain."""
    with refusing(GraphMalformed, file):
        model = _model_type().FromString(raw)
    for problem in _problems(model):
        raise GraphForeign(file, problem)
    graph = model.graph
    return GraphFacts(_values(graph.input), _values(graph.output), _rows(graph))


def require_interface(
    file: str,
    graph: GraphFacts,
    *,
    inputs: Mapping[str, Value],
    outputs: Mapping[str, Value],
) -> None:
    """Raise GraphMismatch unless these are the graph's values, whatever its free axes are called.

    Axes that share a name here must share one in the graph, others must not.
    """
    names: dict[str, str] = {}
    for kind, found, expected in (
        ("input", graph.inputs, inputs), ("output", graph.outputs, outputs),
    ):  # fmt: skip
        if set(found) != set(expected):
            raise GraphMismatch(
                file, f"{kind}s {', '.join(found) or 'none'}; expected {', '.join(expected)}"
            )
        for name, value in expected.items():
            if not _same(found[name], value, names):
                raise GraphMismatch(
                    file, f"{kind} {name} is {_shown(found[name])}; expected {_shown(value)}"
                )


def _same(found: Value, expected: Value, names: dict[str, str]) -> bool:
    if found.element != expected.element or len(found.axes) != len(expected.axes):
        return False
    return all(map(lambda f, e: _same_axis(f, e, names), found.axes, expected.axes))


def _same_axis(found: int | str, expected: int | str, names: dict[str, str]) -> bool:
    if isinstance(expected, int) or isinstance(found, int):
        return found == expected
    names.setdefault(expected, found)
    return bool(found) and names[expected] == found and [*names.values()].count(found) == 1


def _shown(value: Value) -> str:
    return f"{value.element} ({', '.join(str(axis) or '?' for axis in value.axes)})"


def _problems(model: Any) -> Iterator[str]:  # noqa: ANN401 (protobuf's classes have no types)
    for kind, number in _unknown_fields(model):
        known = (name for name, fields in REFUSED.items() if (kind, number) in fields)
        yield f"holds {next(known, f'field {number} of {kind}, which no bundle needs')}"
    for domain in {_text(opset.domain) for opset in model.opset_import} - set(OPERATORS):
        yield f"imports the operators of {domain!r}"
    for node in model.graph.node:
        domain, operator = _text(node.domain), _text(node.op_type)
        if operator not in OPERATORS.get(domain, frozenset()):
            yield f"operator {operator} of {domain or 'ai.onnx'!r} is not on the list"


def _unknown_fields(message: Any) -> Iterator[tuple[str, int]]:  # noqa: ANN401 (the same)
    from google.protobuf.unknown_fields import (  # type: ignore[import-untyped]  # no stubs
        UnknownFieldSet,
    )

    kind = str(message.DESCRIPTOR.name)
    for field in UnknownFieldSet(message):
        yield kind, field.field_number
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for part in value if descriptor.is_repeated else [value]:
                yield from _unknown_fields(part)


def _rows(graph: Any) -> dict[str, int]:  # noqa: ANN401 (the same)
    tables = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    rows: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == b"Gather" and len(node.input) == 2 and node.input[0] in tables:
            table, name = tables[node.input[0]], _text(node.input[1])
            rows[name] = min(table, rows.get(name, table))
    return rows


def _values(values: Any) -> dict[str, Value]:  # noqa: ANN401 (the same)
    return {_text(value.name): _value(value.type.tensor_type) for value in values}


def _value(tensor: Any) -> Value:  # noqa: ANN401 (the same)
    axes = tuple(
        int(axis.dim_value) if axis.HasField("dim_value") else _text(axis.dim_param)
        for axis in tensor.shape.dim
    )
    return Value(ELEMENTS.get(tensor.elem_type, f"type {tensor.elem_type}"), axes)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


@cache
def _model_type() -> Any:  # noqa: ANN401 (the same)
    from google.protobuf import (  # type: ignore[import-untyped]  # no stubs
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"int": kinds.TYPE_INT64, "float": kinds.TYPE_FLOAT, "bytes": kinds.TYPE_BYTES}
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="graph", syntax="proto2")
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = described.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if "*" in kind else kinds.LABEL_OPTIONAL
            bare = kind.removeprefix("*")
            field.type = scalars.get(bare, kinds.TYPE_MESSAGE)
            if bare not in scalars:
                field.type_name = f".graph.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("graph.Model"))
