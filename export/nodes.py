"""Nodes: collects the nodes and constants of one graph and writes it as reproducible bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

MICROSOFT = "com.microsoft"
OPSET, IR_VERSION = 21, 10
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}

Shape = Sequence[int | str]


class Nodes:
    """Append nodes one by one; every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = {}

    # Any: an ONNX attribute may be a number, a text or a list of either.
    def add(self, operator: str, *inputs: str, out: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Append a node of ai.onnx with one output."""
        return self._append(operator, inputs, out, attributes, domain="")

    def add_fused(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Append a node of com.microsoft with one output; an absent input is an empty name."""
        return self._append(operator, inputs, "", attributes, domain=MICROSOFT)

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant, once for equal values."""
        array = np.ascontiguousarray(value).reshape(value.shape)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(array, name)
        return str(self._constants[key].name)

    def number(self, value: float) -> str:
        """Add a float32 scalar."""
        return self.constant(np.array(value, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """Add a list of int64, as axes and shapes are given."""
        return self.constant(np.array(values, dtype=np.int64))

    def to_bytes(
        self,
        name: str,
        *,
        inputs: Mapping[str, tuple[str, Shape]],
        outputs: Mapping[str, tuple[str, Shape]],
    ) -> bytes:
        """Write the graph; inputs and outputs map names to type and shape, texts are free axes."""
        graph = helper.make_graph(
            self._nodes,
            name,
            _value_infos(inputs),
            _value_infos(outputs),
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
            ir_version=IR_VERSION,
            producer_name="newsbert",
        )
        checker.check_model(model)
        raw: bytes = model.SerializeToString(deterministic=True)
        return raw

    def _append(
        self,
        operator: str,
        inputs: Sequence[str],
        out: str,
        attributes: Mapping[str, Any],
        *,
        domain: str,
    ) -> str:
        output = out or f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=domain, **attributes)
        )
        return output


def _value_infos(values: Mapping[str, tuple[str, Shape]]) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, TYPES[kind], list(shape))
        for name, (kind, shape) in values.items()
    ]
