"""AVX2: on a processor without VNNI, whose kernels saturate, the shipped bundle answers the same.

ONNX Runtime picks its kernels by the processor and lets nobody choose, so an emulator pretends to
be one. Of their speed it tells nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from contract.bundle import NEWS_ENCODER, TOKENIZER, open_bundle
from contract.tokens import TextTokenizer
from contract.vectors import cosine

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).parents[2] / "bundles/newsbert"
EMULATORS = ("qemu-x86_64", "qemu-x86_64-static")
MISSING = "needs qemu-x86_64 on PATH, 7.2 or later: apt-get install qemu-user-static"
# One processor with and without AVX2. Of the two kernels only AVX2's adds neighbours in 16 bits.
AVX2, SSE = "Haswell", "Haswell,-avx2"
TIMEOUT_S = 3600  # verifying takes minutes, and many on a busy machine
# NumPy keeps to SSE: QEMU 7.2 gets its AVX2 argsort wrong, which real AVX2 does not.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "X86_V3"}
SAME = 0.9999
TEXTS = (
    "Senate passes budget after all-night session",
    "Underdogs win the cup. A late goal decided it, and 40,000 fans cheered.",
    "Rain",
)
RUN = """
import sys
from pathlib import Path
import numpy as np
from contract.encoder import open_session
graph, feeds, output = map(Path, sys.argv[1:])
np.save(output, open_session(graph.read_bytes()).run(None, dict(np.load(feeds)))[0])
"""


@dataclass(frozen=True)
class Emulated:
    """Python on another processor."""

    emulator: str
    folder: Path

    def python(self, processor: str, *arguments: str | Path) -> str:
        """Run to the end, which has to be a good one; return what was printed."""
        ran = subprocess.run(
            [self.emulator, "-cpu", processor, sys.executable, *arguments],
            env={**os.environ, **ENVIRONMENT},
            cwd=BUNDLE.parents[1],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        told = [line for line in ran.stderr.splitlines() if not line.startswith("qemu-")]
        assert ran.returncode == 0, "\n".join([ran.stdout, *told])
        return ran.stdout

    def output(self, processor: str, graph: bytes, **feeds: NDArray[Any]) -> NDArray[Any]:
        """Run a graph: its first output."""
        files = [self.folder / name for name in ("graph.onnx", "feeds.npz", "output.npy")]
        files[0].write_bytes(graph)
        np.savez(files[1], **feeds)
        self.python(processor, "-c", RUN, *files)
        found: NDArray[Any] = np.load(files[2])
        return found


@pytest.fixture
def emulated(tmp_path: Path) -> Emulated:
    """Find the emulator, or say how to get it."""
    found = [path for path in map(shutil.which, EMULATORS) if path]
    return Emulated(found[0], tmp_path) if found else pytest.skip(MISSING)


def a_product(weight: int) -> bytes:
    """Build a graph that multiplies bytes (1, 64) by equal weights (64, 16)."""
    levels, zero = np.full((64, 16), weight, np.int8), np.array(0, np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "levels", "zero"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(levels, "levels"), numpy_helper.from_array(zero, "zero")],
    )
    opset = [helper.make_opsetid("", 17)]
    raw: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return raw


@pytest.mark.parametrize(
    ("processor", "weight", "product"),
    # Two neighbours reach 255 (127 + 127) = 64,770, but 16 bits end at 32,767.
    [(AVX2, 127, 32 * 32_767), (AVX2, 64, 64 * 255 * 64), (SSE, 127, 64 * 255 * 127)],
    ids=["AVX2 saturates", "AVX2 does not", "SSE does not"],
)
def test_the_emulated_kernels_are_those_of_avx2(
    emulated: Emulated, processor: str, weight: int, product: int
) -> None:
    """They must saturate where AVX2 does: otherwise nothing below is a test of it."""
    found = emulated.output(processor, a_product(weight), x=np.full((1, 64), 255, np.uint8))
    assert found.tolist() == [[product] * 16]


def test_the_shipped_bundle_is_verified(emulated: Emulated) -> None:
    """Golden answers, batches and all else that `newsbert bundle verify` asks."""
    verify = ("-m", "newsbert", "bundle", "verify", BUNDLE, "--json")
    assert json.loads(emulated.python(AVX2, *verify))["sound"]


def as_shipped(graph: bytes) -> bytes:
    """Leave a graph as it is."""
    return graph


def by_their_maximum(graph: bytes) -> bytes:
    """Scale int8 weights as is usual: each column's largest is 127, whatever its neighbours."""
    model = onnx.load_model_from_string(graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMulIntegerToFloat":
            levels, scales = (constants[node.input[place]] for place in (1, 3))
            values = numpy_helper.to_array(levels) * numpy_helper.to_array(scales)  # (in, out)
            wider = (np.abs(values).max(axis=0) / 127).astype(np.float32)  # (out,)
            rounded = np.rint(values / wider).astype(np.int8)
            levels.CopyFrom(numpy_helper.from_array(rounded, levels.name))
            scales.CopyFrom(numpy_helper.from_array(wider, scales.name))
    raw: bytes = model.SerializeToString()
    return raw


@pytest.mark.parametrize(
    ("weights", "same"),
    [(as_shipped, True), (by_their_maximum, False)],
    ids=["as shipped", "by their maximum"],
)
def test_vectors_are_the_same_because_weights_leave_room(
    emulated: Emulated, weights: Callable[[bytes], bytes], same: bool
) -> None:
    """Without the room that quantisation leaves, AVX2 gives other vectors."""
    bundle = open_bundle(BUNDLE)
    tokens = TextTokenizer(bundle.file(TOKENIZER), bundle.text.max_tokens)(TEXTS)
    graph = weights(bundle.file(NEWS_ENCODER))
    ours, theirs = (emulated.output(cpu, graph, **asdict(tokens)) for cpu in (AVX2, SSE))
    assert (cosine(ours, theirs) >= SAME).tolist() == [same] * len(TEXTS)
