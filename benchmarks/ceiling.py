"""What the machine could do: the fastest int8 matrix multiplication on one core, as a ceiling."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cpu import pinned

# A batch of 512 tokens against the two matrices of the feed-forward part, and a plain cube.
SHAPES = ((512, 384, 1536), (512, 1536, 384), (1024, 1024, 1024))
REPEATS = 6
SEED = 5
Multiply = Callable[[], object]


def macs_per_text(
    tokens: float, *, layers: int, hidden: int, intermediate: int, query_width: int
) -> float:
    """Return multiply-adds of a text's matrix products, those inside attention left out."""
    per_token = layers * (4 * hidden**2 + 2 * hidden * intermediate) + hidden * query_width
    return tokens * per_token


def int8_ceiling(shapes: tuple[tuple[int, int, int], ...] = SHAPES) -> dict[str, Any]:
    """Measure 10^9 multiply-adds a second of CPU time, ONNX Runtime's and torch's: name -> best."""
    with pinned(1):
        found = {
            f"{name} {'x'.join(map(str, shape))}": round(speed(make(shape), shape) / 1e9, 1)
            for shape in shapes
            for name, make in (("onnxruntime", onnxruntime_product), ("torch", torch_product))
        }
    return {"gmacs_per_s": max(found.values()), "measured": found}


def speed(
    multiply: Multiply,
    shape: tuple[int, int, int],
    clock: Callable[[], int] = time.thread_time_ns,
) -> float:
    """Return multiply-adds a second of the fastest of some runs, after one to warm up."""
    multiply()
    spent = []
    for _ in range(REPEATS):
        started = clock()
        multiply()
        spent.append(clock() - started)
    return float(np.prod(shape, dtype=np.float64)) / (min(spent) / 1e9)


def onnxruntime_product(shape: tuple[int, int, int]) -> Multiply:
    """Multiply bytes by signed bytes as the graphs do, inputs and output bound beforehand."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    rows, inner, columns = shape
    random = np.random.default_rng(SEED)
    weight = random.integers(-127, 128, (inner, columns)).astype(np.int8)
    constants = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(np.array(128, np.uint8), "z"),
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session: Any = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    bound = session.io_binding()
    bound.bind_cpu_input("x", random.integers(0, 256, (rows, inner)).astype(np.uint8))
    bound.bind_output("y", "cpu")
    return lambda: session.run_with_iobinding(bound)


def torch_product(shape: tuple[int, int, int]) -> Multiply:
    """Multiply signed bytes by signed bytes on one thread, as the calling thread's clock sees."""
    import torch

    torch.set_num_threads(1)
    rows, inner, columns = shape
    x = torch.randint(-128, 128, (rows, inner), dtype=torch.int8)
    weight = torch.randint(-128, 128, (inner, columns), dtype=torch.int8)
    # The one int8 product of torch that needs no quantised tensors; it is not documented.
    product: Any = torch._int_mm
    return lambda: product(x, weight)
