"""Reasons: exact parts of a score, and the read articles to which it owes most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.scoring import ClickModel
from service.explaining import reasons

MODEL = ClickModel(2.0, 0.5, 0.0, np.zeros(2, np.float32))
TERMS = {"popularity": 0.25, "freshness": -1.0, "diversity": -0.5}


def test_parts_are_those_of_the_formula() -> None:
    """By hand: s u.v, s lambda t, b.v and what was added; temperature 0 weighs clicks alike."""
    match, shares = [0.8, 0.2], np.array([0.75, 0.25])
    products = np.array([*match, 0.65, 0.1])  # u.v = 0.75 * 0.8 + 0.25 * 0.2
    found = reasons(MODEL, products, history=["A", "B"], shares=shares, terms=TERMS)
    assert found["parts"] == pytest.approx(
        {"user": 2 * 0.65, "attention": 2 * 0.5 * 0.5, "content": 0.1, **TERMS}
    )
    read = {one["id"]: one["weight"] for one in found["history"]}
    assert read == pytest.approx({"A": 2 * (0.75 + 0.25) * 0.8, "B": 2 * (0.25 + 0.25) * 0.2})


def test_the_three_articles_with_most_weight_are_named_once_each() -> None:
    """Best first; clicks on one article count together, equal ones go by id."""
    match, shares = np.array([0.1, 0.3, 0.1, 0.1, 0.2]), np.full(5, 0.2)
    products = np.array([*match, 0.16, 0.0])
    found = reasons(MODEL, products, history=["D", "A", "D", "C", "B"], shares=shares, terms={})
    assert [one["id"] for one in found["history"]] == ["A", "B", "D"]
    assert found["history"][1]["weight"] == pytest.approx(found["history"][2]["weight"])


def test_without_a_history_only_the_rest_is_left() -> None:
    """Nobody read anything: no article is named, no part is owed to one."""
    found = reasons(MODEL, np.array([0.0, 0.3]), history=[], shares=np.zeros(0), terms=TERMS)
    assert found["history"] == []
    assert found["parts"] == {"user": 0.0, "attention": 0.0, "content": 0.3, **TERMS}


def test_a_part_of_nothing_has_no_sign() -> None:
    """-0.0 would read as if something had been taken."""
    terms = {"freshness": -0.0, "diversity": -0.0}
    found = reasons(MODEL, np.array([-0.0, -0.0]), history=[], shares=np.zeros(0), terms=terms)
    assert not any(np.signbit(part) for part in found["parts"].values())


@given(seed=st.integers(0, 2**16), clicks=st.integers(0, 50))
def test_parts_sum_to_the_score(seed: int, clicks: int) -> None:
    """And the weights of all read articles to the two parts that readers have."""
    random = np.random.default_rng(seed)
    model = ClickModel(9.0, 0.5, float(random.uniform(0, 20)), np.zeros(8, np.float32))
    shares = random.dirichlet(np.ones(clicks)) if clicks else np.zeros(0)
    match = random.uniform(-1, 1, clicks)
    products = np.array([*match, shares @ match, 0.2]).astype(np.float32)
    history = [f"N{i % 3}" for i in range(clicks)]
    found = reasons(model, products, history=history, shares=shares, terms=TERMS)
    score = float(model.combine(products[:, None])[0]) + sum(TERMS.values())
    assert sum(found["parts"].values()) == pytest.approx(score, abs=1e-4)
    owed = sum(one["weight"] for one in found["history"])
    assert owed == pytest.approx(found["parts"]["user"] + found["parts"]["attention"], abs=1e-4)
