"""The click score: the formula by hand, by a plain loop, and folded for retrieval."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.article import Vectors
from contract.scoring import ClickModel, attention_weights
from tests.builders import a_click_model

USER = np.array([1.0, 0.0], dtype=np.float32)
HISTORY = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
CANDIDATE = np.array([[0.6, 0.8]], dtype=np.float32)
CONTENT = np.array([0.1, 0.0], dtype=np.float32)
NO_HISTORY = np.zeros((0, 2), dtype=np.float32)


def vectors(random: np.random.Generator, *shape: int) -> Vectors:
    """Draw vectors of unit length."""
    drawn = random.standard_normal(shape).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def by_loop(model: ClickModel, user: Vectors, history: Vectors, candidates: Vectors) -> list[float]:
    """Score as the formula reads, one number at a time, in double precision."""
    scores = []
    for v in candidates:
        matches = [sum(float(a) * float(b) for a, b in zip(h, v, strict=True)) for h in history]
        powers = [math.exp(model.temperature * match) for match in matches]
        t = sum(p * m for p, m in zip(powers, matches, strict=True)) / sum(powers) if powers else 0
        u_v = sum(float(a) * float(b) for a, b in zip(user, v, strict=True))
        b_v = sum(float(a) * float(b) for a, b in zip(model.content, v, strict=True))
        scores.append(model.scale * (u_v + model.attention * t) + b_v)
    return scores


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.0, 2 * (0.6 + 0.5 * 0.7) + 0.06),  # weights 1/2 and 1/2
        (5 * math.log(3), 2 * (0.6 + 0.5 * 0.75) + 0.06),  # weights 1/4 and 3/4
        (1e4, 2 * (0.6 + 0.5 * 0.8) + 0.06),  # all weight on the best match, and no overflow
    ],
)
def test_the_score_is_the_formula(temperature: float, expected: float) -> None:
    """The formula s (u.v + lambda t) + b.v, worked out by hand for three temperatures."""
    model = ClickModel(scale=2, attention=0.5, temperature=temperature, content=CONTENT)
    assert model.score(USER, HISTORY, CANDIDATE) == pytest.approx([expected], abs=1e-6)


def test_without_history_the_attended_match_is_zero() -> None:
    """A reader without clicks gets s u.v + b.v."""
    model = ClickModel(scale=2, attention=0.5, temperature=3, content=CONTENT)
    assert model.score(USER, NO_HISTORY, CANDIDATE) == pytest.approx([1.26], abs=1e-6)


@given(seed=st.integers(0, 2**16), clicks=st.integers(0, 5), candidates=st.integers(0, 5))
def test_the_arrays_do_what_the_loop_does(seed: int, clicks: int, candidates: int) -> None:
    """The score agrees with a plain loop for any history and candidates, none included."""
    random = np.random.default_rng(seed)
    model = a_click_model(temperature=float(random.uniform(0, 20)))
    user, history, shown = (vectors(random, *s) for s in ((8,), (clicks, 8), (candidates, 8)))
    scores = model.score(user, history, shown)
    assert (scores.shape, scores.dtype) == ((candidates,), np.float32)
    assert scores.tolist() == pytest.approx(by_loop(model, user, history, shown), abs=1e-4)


def test_a_score_does_not_depend_on_the_other_candidates() -> None:
    """Each candidate's score is the same alone and among others."""
    random = np.random.default_rng(0)
    model, user, history, shown = (
        a_click_model(),
        *(vectors(random, *s) for s in ((8,), (4, 8), (9, 8))),
    )
    alone = [model.score(user, history, candidate[None])[0] for candidate in shown]
    assert model.score(user, history, shown) == pytest.approx(alone, abs=1e-5)


def test_the_order_of_the_history_does_not_matter() -> None:
    """The attended match is a weighted mean over a set."""
    random = np.random.default_rng(0)
    user, history, shown = (vectors(random, *s) for s in ((8,), (4, 8), (9, 8)))
    scores = a_click_model().score(user, history, shown)
    assert a_click_model().score(user, history[::-1], shown) == pytest.approx(scores, abs=1e-5)


def test_one_formula_in_either_precision() -> None:
    """`combine` scores from products; in single precision it gives what `score` gives."""
    random = np.random.default_rng(2)
    model = a_click_model(dim=64, scale=9.0, temperature=10.0)
    for clicks in (0, 1, 7, 50):
        user, history, shown = (vectors(random, *s) for s in ((64,), (clicks, 64), (300, 64)))
        products = model.factors(user, history) @ shown.T
        assert (products.shape, products.dtype) == ((clicks + 2, 300), np.float32)
        combined = model.combine(products)
        assert combined.dtype == np.float32
        assert combined == pytest.approx(model.score(user, history, shown), abs=1e-5)


def test_products_are_not_changed() -> None:
    """Whoever explains a score needs them afterwards."""
    products = np.random.default_rng(0).uniform(-1, 1, (6, 3))
    before = products.copy()
    a_click_model().combine(products)
    assert (products == before).all()


def test_copies_of_one_vector_tie_exactly() -> None:
    """In double precision a score depends on the vector alone, wherever it stands."""
    random = np.random.default_rng(0)
    user, history, one = (vectors(random, *s) for s in ((64,), (9, 64), (1, 64)))
    scores = a_click_model(dim=64).score(user, history, np.repeat(one, 300, axis=0))
    assert len(set(scores.tolist())) == 1


def test_the_retrieval_query_gives_the_order_of_the_linear_part() -> None:
    """One inner product with `u + b/s` ranks as s u.v + b.v does."""
    random = np.random.default_rng(1)
    model, user, catalogue = a_click_model(), vectors(random, 8), vectors(random, 500, 8)
    linear = model.score(user, np.zeros((0, 8), np.float32), catalogue)
    folded = catalogue @ model.retrieval_query(user)
    assert model.scale * folded == pytest.approx(linear, abs=1e-4)
    assert folded.argsort().tolist() == linear.argsort().tolist()


def test_attention_weights_sum_to_one() -> None:
    """Weights over the history are a distribution for each candidate, at any temperature."""
    match = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    for temperature in (0.0, 1.0, 1e5):
        assert attention_weights(match, temperature).sum(axis=0) == pytest.approx([1] * 3)


def test_json_keeps_every_bit() -> None:
    """What is read scores exactly as what was written."""
    model = a_click_model()
    again = ClickModel.from_json(model.to_json())
    assert (again.scale, again.attention, again.temperature) == (5.0, 0.5, 4.0)
    assert again.content.dtype == np.float32
    assert (again.content == model.content).all()
    assert again.to_json() == model.to_json()


def test_a_broken_number_is_not_written() -> None:
    """NaN is no JSON, and no click model."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        a_click_model(scale=math.nan).to_json()


@pytest.mark.parametrize("missing", ["scale", "attention", "temperature", "content"])
def test_every_number_is_needed(missing: str) -> None:
    """No default stands in for a number that is missing."""
    numbers = json.loads(a_click_model().to_json())
    del numbers[missing]
    with pytest.raises(KeyError, match=missing):
        ClickModel.from_json(json.dumps(numbers).encode())
