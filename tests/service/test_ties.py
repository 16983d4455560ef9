"""Ties: equal articles come in the order of their ids, though single precision tells them apart."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.scoring import ClickModel
from service.catalogue import Catalogue
from service.scores import LEAST, NEAR, Scorer, Terms, best_first, ranked
from service.snapshot import Snapshot
from tests.service.fakes import ACTIVATION, HOUR, NOW, a_stored

DIM = 256


def some_vectors(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Draw unit vectors as wide as the shipped ones: (count, D)."""
    drawn = np.random.default_rng(seed).standard_normal((count, DIM))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Build 300 copies of one article in no order of ids, then 50 of its kind to be read."""
    one, *read = some_vectors(51, 0)
    near = [(one + 0.5 * other) / np.linalg.norm(one + 0.5 * other) for other in read]
    order = np.random.default_rng(1).permutation(300)
    copies = [a_stored(f"C{i:03}", vector=one) for i in order]
    history = [a_stored(f"H{i}", vector=v.astype(np.float32)) for i, v in enumerate(near)]
    catalogue = Catalogue(ACTIVATION, DIM, history_ttl_s=0.0)
    catalogue.load([[*copies, *history]], now=0.0)
    return catalogue.current


def a_scorer(scale: float = 9.0) -> Scorer:
    """Make a click model of about the shipped one's size."""
    return Scorer(ClickModel(scale, 0.5, 10.0, some_vectors(1, 2)[0]))


@pytest.mark.parametrize("clicks", [0, 1, 3, 10, 49, 50])
def test_copies_of_one_vector_come_in_the_order_of_their_ids(
    snapshot: Snapshot, clicks: int
) -> None:
    """At every size of the product, by which its rounding changes."""
    scorer = a_scorer()
    reader = scorer.reader(snapshot, list(range(300, 300 + clicks)))
    for candidates in (1, 2, 5, 48, 64, 100, 199, 300):
        scored = scorer.scored(snapshot, reader, np.arange(candidates))
        ids = [snapshot.columns.facts[place].id for place in ranked(snapshot, scored)]
        assert ids == sorted(ids)


def test_without_the_rule_copies_would_come_in_any_order(snapshot: Snapshot) -> None:
    """The rule is needed: the scores of copies do differ, by less than it allows for."""
    scorer, apart = a_scorer(), set[bool]()
    for clicks, candidates in product((1, 3, 10, 49, 50), (5, 65, 300)):
        reader = scorer.reader(snapshot, list(range(300, 300 + clicks)))
        scored = scorer.scored(snapshot, reader, np.arange(candidates))
        assert np.ptp(scored.scores) < scored.near
        apart.add(bool(np.ptp(scored.scores)))
    # Which sizes tell copies apart depends on the processor; on each some do.
    assert True in apart


def test_the_margin_grows_with_the_click_score_alone(snapshot: Snapshot) -> None:
    """Rounding does too; what is added to the click score is in double precision."""
    for scale, growth in ((0.1, 1.0), (9.0, 2.0), (90.0, 20.0)):
        scorer = a_scorer(scale)
        reader = scorer.reader(snapshot, [300, 301])
        plain = scorer.scored(snapshot, reader, np.arange(300))
        aged = scorer.scored(snapshot, reader, np.arange(300), Terms(1.0, HOUR, NOW))
        assert plain.near == aged.near == pytest.approx(NEAR * LEAST * growth, rel=0.5)


def test_what_can_be_told_apart_goes_by_score() -> None:
    """A run ends where the next score is further away, however many came before."""
    ids = ["d", "c", "b", "a"]
    scores = np.array([3.0, 3.0 - 4e-6, 3.0 - 8e-6, 3.0 - 2e-5])
    assert best_first(scores, ids.__getitem__, 5e-6).tolist() == [2, 1, 0, 3]
    assert best_first(scores, ids.__getitem__, 0.0).tolist() == [0, 1, 2, 3]


@given(st.lists(st.integers(-3, 3), max_size=30), st.randoms(use_true_random=False))
def test_exact_ties_sort_by_score_and_id(values: list[int], random: object) -> None:
    """Whatever comes in: best first, equal ones by id, every place once."""
    ids = [f"N{i:02}" for i in range(len(values))]
    random.shuffle(ids)  # type: ignore[attr-defined]
    order = best_first(np.array(values, float), ids.__getitem__, 1e-6).tolist()
    assert order == sorted(range(len(values)), key=lambda place: (-values[place], ids[place]))
