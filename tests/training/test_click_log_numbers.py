"""Ids to numbers: what a dict would give, for any ids an article may have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.click_log_numbers import SLOTS_PER_ID, UNKNOWN, ArticleNumbers

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
# Ids that begin alike, so that only a later word tells them apart, or only their length.
ALIKE = st.builds(lambda n, end: "a" * n + end, st.integers(1, 62), st.sampled_from(["", "b", "0"]))


def find(numbers: ArticleNumbers, ids: list[str]) -> list[int]:
    """Look ids up in a text that they make up."""
    lengths = np.array([len(i.encode()) for i in ids], np.int64)
    starts = np.cumsum(lengths + 1) - lengths - 1
    text = " ".join([*ids, ""]).encode() + bytes(numbers.reach)
    return numbers.find(np.frombuffer(text, np.uint8), starts, lengths).tolist()


@given(
    known=st.lists(IDS | ALIKE, max_size=40, unique=True),
    others=st.lists(IDS | ALIKE | st.text("é-", min_size=1, max_size=90), max_size=20),
)
def test_ids_are_found_as_in_a_dict(known: list[str], others: list[str]) -> None:
    """Known ids give their place, others UNKNOWN; no hash decides without a comparison."""
    expected = {article_id: number for number, article_id in enumerate(known)}
    asked = [*others, *known, *known]
    assert find(ArticleNumbers(known), asked) == [expected.get(i, UNKNOWN) for i in asked]


def test_many_ids_are_found_although_they_collide() -> None:
    """With tens of thousands, some ids want the slot of others: all are found, and no strangers."""
    known = [f"N{number}" for number in range(30_000)]
    numbers = ArticleNumbers(known)
    assert find(numbers, known) == list(range(30_000))
    assert set(find(numbers, [f"N{number}" for number in range(30_000, 60_000)])) == {UNKNOWN}


@pytest.mark.parametrize("same", [0, 2**64 - 1])
def test_ids_are_found_even_if_all_want_one_slot(
    monkeypatch: pytest.MonkeyPatch, same: int
) -> None:
    """The first and the last slot, beyond which the search goes on at the first."""
    home = "training.click_log_numbers.ArticleNumbers._home"
    slot = same % (SLOTS_PER_ID * 8)
    monkeypatch.setattr(home, lambda _, words: np.full(words.shape[1], slot, np.int64))
    known = [f"N{number}" for number in range(7)]
    assert find(ArticleNumbers(known), [*known, "N7"]) == [*range(7), UNKNOWN]


@pytest.mark.parametrize("length", [7, 8, 9, 16, 63, 64])
def test_an_id_that_only_begins_like_a_known_one_is_unknown(length: int) -> None:
    """The longest known id fills its words, and what is longer is cut where it ends."""
    known = "a" * length
    asked = [known, known + "b", known + "a" * 64, known[:-1]]
    assert find(ArticleNumbers([known]), asked) == [0, UNKNOWN, UNKNOWN, UNKNOWN]


def test_no_id_is_found_among_none() -> None:
    """A catalogue may be empty."""
    assert find(ArticleNumbers([]), ["N1", "a" * 70]) == [UNKNOWN, UNKNOWN]
