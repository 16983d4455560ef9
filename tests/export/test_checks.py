"""What no bundle may hold is refused, each thing by name."""

from collections.abc import Callable

import onnx
import pytest

from export.checks import check_graph, check_paths
from export.errors import GraphRefused
from export.graph import user_encoder_graph
from export.parameters import user_parameters
from export.precision import Float32, Precision
from export.quantize import RowwiseInt8
from export.static_scales import StaticInt8
from tests.export.models import PAD_IDS, a_graph, a_student

Damage = Callable[[onnx.ModelProto], object]


def damaged(damage: Damage) -> bytes:
    """Return a sound graph after a change."""
    model = onnx.load_model_from_string(user_encoder_graph(user_parameters(a_student()), Float32()))
    damage(model)
    raw: bytes = model.SerializeToString()
    return raw


@pytest.mark.parametrize("precision", [Float32(), RowwiseInt8(), StaticInt8()])
@pytest.mark.parametrize("family", PAD_IDS)
@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_our_own_graphs_pass(family: str, precision: Precision, activation: str) -> None:
    """Whatever the builder makes is on the list."""
    graph = a_graph(a_student(family=family, activation=activation), precision)
    check_graph("news_encoder.onnx", graph)
    check_paths({"news_encoder.onnx": graph})


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda m: setattr(m, "doc_string", "made by me"), "doc strings"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "Loop"),
    ],
)
def test_a_foreign_graph_is_refused(damage: Damage, named: str) -> None:
    """By the rules of whoever opens the bundle; the error names the file and what is wrong."""
    with pytest.raises(GraphRefused, match=named) as caught:
        check_graph("user_encoder.onnx", damaged(damage))
    assert "user_encoder.onnx" in str(caught.value)


def test_what_is_no_graph_is_refused() -> None:
    """Bytes that are not ONNX are not a crash."""
    with pytest.raises(GraphRefused, match=r"news_encoder\.onnx: "):
        check_graph("news_encoder.onnx", b"\xff\xff\xff not a graph")


@pytest.mark.parametrize(
    "text", ["see /" + "home/someone/x", "\x12\x0b/" + "root/run.py", "C:\\" + "Users\\x"]
)
def test_a_path_of_the_machine_is_refused(text: str) -> None:
    """No file of a bundle says where it was made."""
    with pytest.raises(GraphRefused, match=r"card\.md"):
        check_paths({"card.md": text.encode()})


@pytest.mark.parametrize("text", ["https://example.org/home/page", "50/50 and/or", "a/var/b"])
def test_an_address_is_no_path(text: str) -> None:
    """Texts of articles may hold slashes."""
    check_paths({"golden.jsonl": text.encode()})
