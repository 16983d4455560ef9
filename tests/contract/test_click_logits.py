"""Attention logits: what the user encoder gives each article, read out of its graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.article import Vectors
from contract.bundle import GOLDEN, USER_ENCODER, Bundle, write_bundle
from contract.bundle_errors import GraphFailed
from contract.encoder import LOGITS_PER_BATCH, BundleEncoder
from contract.golden import make_golden, verified_encoder
from contract.probing import check_means
from tests.builders import bundle_facts, golden_cases

DIM = 8
DIRECTION = np.linspace(-2, 2, DIM, dtype=np.float32)


def a_user_graph(*, of_each: str = "", sharpness: float = 1.0) -> bytes:
    """Build a user encoder that weighs each click by exp(sharpness * click . DIRECTION).

    `of_each` says what becomes of the weighted mean, as the name of an ONNX operator, if anything.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["history", "direction"], ["column"]),  # (B, H, 1)
        helper.make_node("Squeeze", ["column", "last"], ["logits"]),  # (B, H)
        helper.make_node("Where", ["mask", "logits", "least"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"], axis=-1),
        helper.make_node("Cast", ["mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["shares", "seen"], ["weights"]),
        helper.make_node("Unsqueeze", ["weights", "middle"], ["row"]),  # (B, 1, H)
        helper.make_node("MatMul", ["row", "history"], ["mean"]),
        helper.make_node("Squeeze", ["mean", "middle"], ["squeezed" if of_each else "user"]),
    ]
    if of_each:
        nodes.append(helper.make_node(of_each, ["squeezed"], ["user"]))
    arrays = {
        "direction": np.float32(sharpness) * DIRECTION[:, None],
        "least": np.array(-1e4, np.float32),
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


def an_encoder(bundle: Bundle, **wish: Any) -> BundleEncoder:
    """Load the bundle with that user encoder in it."""
    files = {**bundle.files, USER_ENCODER: a_user_graph(**wish)}
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


@pytest.mark.parametrize("steepest", [5.0, 10.0, 30.0])
def test_a_sharp_user_encoder_is_read_too(bundle: Bundle, steepest: float) -> None:
    """However much more one click counts than another, in histories of any sort of clicks."""
    vectors = articles(400)
    sharpness = steepest / float(np.abs(vectors @ DIRECTION).max())
    encoder = an_encoder(bundle, sharpness=sharpness)
    logits = encoder.click_logits(vectors).astype(np.float64)
    meant = sharpness * (vectors @ DIRECTION)
    assert np.ptp(logits - meant) < 1e-4
    by_weight = np.argsort(meant)
    for start in range(0, len(vectors) - 20, 7):  # clicks that count alike, from least to most
        read = by_weight[start : start + 20]
        powers = np.exp(logits[read] - logits[read].max())
        user = encoder.users(vectors[read][None], np.ones((1, 20), bool))[0]
        assert user == pytest.approx(powers / powers.sum() @ vectors[read], abs=1e-5)


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


def test_no_logit_is_infinite(bundle: Bundle) -> None:
    """A click that never counts beside another is very unlikely, not impossible."""
    logits = an_encoder(bundle, sharpness=500.0).click_logits(np.float32(0.01) * articles(20))
    assert np.isfinite(logits).all()
    never = an_encoder(bundle, sharpness=80.0).click_logits(-DIRECTION[None])
    assert np.isfinite(never).all()


@pytest.mark.parametrize(
    ("of_each", "problem"),
    [("Neg", "no weighted mean"), ("Tanh", "no weighted mean"), ("Sqrt", "is no number")],
)
def test_a_user_encoder_that_is_no_mean_is_refused(
    bundle: Bundle, of_each: str, problem: str
) -> None:
    """Another sign, another shape, no number: never logits that would mislead."""
    with pytest.raises(GraphFailed, match=problem):
        check_means(an_encoder(bundle, of_each=of_each), [articles(20)])


@pytest.mark.parametrize(
    ("graph", "problem"),
    [({"sharpness": 30.0}, None), ({"of_each": "Tanh"}, "no weighted mean of the history")],
)
def test_a_bundle_is_served_if_its_users_are_means(
    bundle: Bundle, tmp_path: Path, graph: dict[str, Any], problem: str | None
) -> None:
    """However sharp; else it is refused by name before anything is served."""
    user = a_user_graph(**graph)
    unverified = Bundle(bundle.manifest, bundle.model, {**bundle.files, USER_ENCODER: user})
    encoder = BundleEncoder(unverified)
    golden = make_golden(encoder, encoder.click_model, golden_cases())
    write_bundle(tmp_path / "b", {**unverified.files, GOLDEN: golden}, bundle_facts())
    if problem is None:
        verified_encoder(tmp_path / "b")
        return
    with pytest.raises(GraphFailed, match=problem) as caught:
        verified_encoder(tmp_path / "b")
    assert caught.value.file == USER_ENCODER
