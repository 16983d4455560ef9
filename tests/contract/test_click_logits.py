"""Attention logits: what the user encoder gives each article, read out of its graph."""

import numpy as np
import pytest

from contract.article import Vectors
from contract.bundle import USER_ENCODER, Bundle
from contract.bundle_errors import GraphFailed
from contract.encoder import LOGITS_PER_BATCH, BundleEncoder

DIM = 8
DIRECTION = np.linspace(-2, 2, DIM, dtype=np.float32)


def a_user_graph(*, of_each: str) -> bytes:
    """Build a user encoder that weighs each click by exp(click . DIRECTION).

    `of_each` says what becomes of the weighted mean, as the name of an ONNX operator.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["history", "direction"], ["logits"]),  # (B, H, 1)
        helper.make_node("Exp", ["logits"], ["powers"]),
        helper.make_node("Cast", ["mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["column"]),
        helper.make_node("Mul", ["powers", "column"], ["weights"]),
        helper.make_node("Mul", ["history", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "middle"], ["total"], keepdims=0),
        helper.make_node("Div", ["sum", "total"], ["mean"]),
        helper.make_node(of_each, ["mean"], ["user"]),
    ]
    arrays = {
        "direction": DIRECTION[:, None],
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info("history", TensorProto.FLOAT, ["B", "H", DIM]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, ["B", "H"]),
        ],
        [helper.make_tensor_value_info("user", TensorProto.FLOAT, ["B", DIM])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    raw: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return raw


def an_encoder(bundle: Bundle, *, of_each: str = "Identity") -> BundleEncoder:
    """Load the bundle with that user encoder in it."""
    files = {**bundle.files, USER_ENCODER: a_user_graph(of_each=of_each)}
    return BundleEncoder(Bundle(bundle.manifest, bundle.model, files))


def articles(count: int) -> Vectors:
    """Draw unit vectors (count, D)."""
    drawn = np.random.default_rng(count).standard_normal((count, DIM))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_a_user_vector_is_the_mean_by_the_softmax_of_the_logits(bundle: Bundle) -> None:
    """Histories of any length come out as the graph has them."""
    encoder, vectors = an_encoder(bundle), articles(200)
    logits, random = encoder.click_logits(vectors), np.random.default_rng(0)
    for clicks in (1, 2, 10, 50):
        read = random.integers(0, len(vectors), clicks)
        powers = np.exp(logits[read])
        user = encoder.users(vectors[read][None], np.ones((1, clicks), bool))[0]
        assert user == pytest.approx(powers / powers.sum() @ vectors[read], abs=1e-6)


def test_logits_are_those_of_the_graph(bundle: Bundle) -> None:
    """Up to a constant, across batches, in single precision."""
    vectors = articles(LOGITS_PER_BATCH + 7)
    logits = an_encoder(bundle).click_logits(vectors)
    assert (logits.shape, logits.dtype) == ((len(vectors),), np.float32)
    assert np.ptp(logits - vectors @ DIRECTION) < 1e-5


def test_the_logits_of_a_plain_mean_are_equal(encoder: BundleEncoder) -> None:
    """Who attends to every click alike; and of no articles there are none."""
    assert np.ptp(encoder.click_logits(articles(20))) < 1e-6
    assert encoder.click_logits(articles(0)).shape == (0,)


@pytest.mark.parametrize("of_each", ["Neg", "Tanh", "Sqrt"])
def test_a_user_encoder_that_is_no_mean_is_refused(bundle: Bundle, of_each: str) -> None:
    """Another sign, another shape, no number: never logits that would mislead."""
    with pytest.raises(GraphFailed, match="no weighted mean"):
        an_encoder(bundle, of_each=of_each).click_logits(articles(20))
