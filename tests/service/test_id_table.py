"""Id table: it answers as a dict of ids and their places does, whatever hashes they have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.id_table import ABSENT, SLOTS, IdTable


class Hashed(str):
    """An id of a hash of the test's choice, told from others by its letters."""

    __slots__ = ("chosen",)

    def __new__(cls, text: str, chosen: int) -> "Hashed":
        """Make one."""
        made = super().__new__(cls, text)
        made.chosen = chosen
        return made

    def __hash__(self) -> int:
        """Return the hash it was given."""
        return self.chosen

    def __eq__(self, other: object) -> bool:
        """Compare the letters."""
        return str.__eq__(self, other) is True


def by_dict(ids: list[str], asked: list[str]) -> list[int]:
    """Look ids up in the plainest way."""
    rows = {article_id: row for row, article_id in enumerate(ids)}
    return [rows.get(article_id, ABSENT) for article_id in asked]


def ids_of_hash(chosen: int, count: int) -> list[str]:
    """Make ids that share a hash."""
    return [Hashed(f"{chosen}-{n}", chosen) for n in range(count)]


@settings(deadline=None)
@given(
    ids=st.lists(st.text(max_size=3), max_size=60),
    asked=st.lists(st.text(max_size=3), max_size=60),
    places=st.lists(st.integers(0, 59), max_size=60),
)
def test_it_answers_as_a_dict_does(ids: list[str], asked: list[str], places: list[int]) -> None:
    """Ids that come twice, that are asked for twice, and that nobody knows."""
    asked += [ids[place] for place in places if place < len(ids)]
    assert IdTable(ids).rows(asked).tolist() == by_dict(ids, asked)


@settings(deadline=None)
@given(hashes=st.lists(st.integers(-4, 40), max_size=80), asked=st.lists(st.integers(0, 79)))
def test_it_answers_as_a_dict_does_where_hashes_meet(hashes: list[int], asked: list[int]) -> None:
    """Ids of the table that share a hash are told apart, and no line is too short."""
    # Lines are the lowest bits of a hash: these fall into few.
    ids: list[str] = [Hashed(f"N{n}", chosen * 64) for n, chosen in enumerate(hashes)]
    wanted = [ids[n] for n in asked if n < len(ids)]
    assert IdTable(ids).rows(wanted).tolist() == by_dict(ids, wanted)


@pytest.mark.parametrize("count", [0, 1, 2, SLOTS, 5_000, 65_000])
def test_every_id_of_a_catalogue_is_found_and_no_other(count: int) -> None:
    """Of few articles and of many."""
    ids = [f"M{n}" for n in range(count)]
    table = IdTable(ids)
    assert len(table) == count
    assert table.rows(ids).tolist() == list(range(count))
    assert (table.rows([f"X{n}" for n in range(count + 1)]) == ABSENT).all()
    assert table.rows([]).shape == (0,)


@pytest.mark.parametrize("chosen", [0, 1, -2, 2**40])
def test_an_unknown_id_of_the_hash_of_two_is_unknown(chosen: int) -> None:
    """What shares its hash with another one of the table is told by its letters."""
    first, second, other = ids_of_hash(chosen, 3)
    assert IdTable([first, second]).rows([second, other, first]).tolist() == [1, ABSENT, 0]


def test_the_hash_of_an_empty_slot_is_no_id() -> None:
    """A slot that nothing was written to holds zero, which is a hash like any other."""
    zero, one = ids_of_hash(0, 1) + ids_of_hash(1, 1)
    assert IdTable([one]).rows([zero]).tolist() == [ABSENT]
    assert IdTable([zero]).rows([zero, one]).tolist() == [0, ABSENT]


def test_a_line_holds_so_many_and_the_rest_is_found_too() -> None:
    """Ids beyond the slots of their line are kept aside, and those asked for there are right."""
    full: list[str] = [Hashed(f"N{n}", n << 40) for n in range(SLOTS + 3)]
    table = IdTable(full)
    assert table.rows(full[::-1]).tolist() == list(range(SLOTS + 3))[::-1]
    assert table.rows([Hashed("other", 99 << 40)]).tolist() == [ABSENT]


def test_an_id_is_told_by_its_hash_alone() -> None:
    """What the docstring owns up to: of one hash with a known id, another one is taken for it."""
    known, unknown = ids_of_hash(7, 2)
    assert IdTable([known]).rows([unknown]).tolist() == [0]
