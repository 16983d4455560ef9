"""Rows of a log: the same as of its impressions, without a list of objects."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.article import Article, Impression
from contract.mind import read_folder, write_folder
from tests.builders import an_article, an_impression
from training.batches import ClickRow
from training.click_log import ClickLog, read_click_log
from training.click_log_rows import ClickRows, click_rows

ARTICLES = [an_article(f"N{n}") for n in range(6)]
IDS = st.sampled_from([article.id for article in ARTICLES] + ["X1", "X2"])


@st.composite
def impressions(draw: st.DrawFn) -> Impression:
    """Draw an impression with some unknown ids, perhaps without a history, click or skip."""
    shown = draw(st.lists(st.tuples(IDS, st.booleans()), max_size=5))
    return an_impression(
        history=tuple(draw(st.lists(IDS, max_size=5))),
        candidates=tuple(i for i, _ in shown),
        clicks=tuple(click for _, click in shown),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that each test overwrites."""
    return tmp_path_factory.mktemp("mind")


def written(folder: Path, shown: list[Impression], articles: list[Article] = ARTICLES) -> ClickLog:
    """Write impressions and read them as a log."""
    write_folder(folder, articles, shown)
    return read_click_log(folder)


def by_objects(folder: Path, kept: list[bool], history: int) -> list[ClickRow]:
    """Make the rows of the impressions that are kept, one object after the other."""
    read = read_folder(folder)
    numbers = {article.id: number for number, article in enumerate(read.articles)}
    chosen = [i for i, keep in zip(read.impressions, kept, strict=True) if keep]
    return [row for i in chosen for row in rows_of(i, numbers, history) if row.skips]


def rows_of(impression: Impression, numbers: dict[str, int], history: int) -> Iterator[ClickRow]:
    """Make a row per known click."""
    read = tuple(numbers[i] for i in impression.history if i in numbers)[-history:]
    pairs = zip(impression.candidates, impression.clicks, strict=True)
    shown = [(numbers[i], clicked) for i, clicked in pairs if i in numbers]
    skips = tuple(number for number, clicked in shown if not clicked)
    return (ClickRow(read, number, skips) for number, clicked in shown if clicked)


@given(
    shown=st.lists(st.tuples(impressions(), st.booleans()), max_size=8),
    history=st.sampled_from([1, 2, 50]),
)
def test_rows_equal_those_of_the_impressions(
    folder: Path, shown: list[tuple[Impression, bool]], history: int
) -> None:
    """One per click with a skip beside it, unknown ids left out, the last of the history kept."""
    log = written(folder, [impression for impression, _ in shown])
    kept = [keep for _, keep in shown]
    assert list(click_rows(log, history=history)) == by_objects(folder, [True] * len(log), history)
    some = click_rows(log, history=history, kept=np.array(kept, bool))
    assert list(some) == by_objects(folder, kept, history)


@pytest.mark.parametrize("clicks", [(False, False), (True, True)])
def test_an_impression_without_click_or_skip_makes_no_row(
    folder: Path, clicks: tuple[bool, bool]
) -> None:
    """There is nothing to tell apart."""
    log = written(folder, [an_impression(candidates=("N1", "N2"), clicks=clicks)])
    assert list(click_rows(log, history=50)) == []


def test_unknown_ids_are_left_out_and_the_last_of_a_history_kept(folder: Path) -> None:
    """Real logs mention articles that their catalogue lacks."""
    shown = an_impression(history=("N1", "X9", "N2", "N3"), candidates=("N4", "X1", "N5"))
    assert list(click_rows(written(folder, [shown]), history=2)) == [ClickRow((2, 3), 4, (5,))]


@pytest.fixture
def rows(folder: Path) -> ClickRows:
    """Give the rows of two impressions with two clicks each, around one without a skip."""
    two = {"candidates": ("N1", "N2", "N3"), "clicks": (True, False, True)}
    only = an_impression(candidates=("N1",), clicks=(True,))
    shown = [an_impression(**two, history=("N4",)), only, an_impression(**two, history=("N5",))]
    return click_rows(written(folder, shown), history=50)


def test_rows_are_a_sequence(rows: ClickRows) -> None:
    """They are taken by number, by NumPy's numbers, from the end and in slices."""
    assert len(rows) == 4
    assert rows[1] == ClickRow((4,), 3, (2,))
    assert rows[np.int64(1)] == rows[1]  # type: ignore[call-overload]
    assert rows[-1] == ClickRow((5,), 3, (2,))
    assert list(rows[1:3]) == [rows[1], rows[2]]
    with pytest.raises(IndexError):
        rows[4]


def test_rows_tell_their_impressions_and_clicks_as_arrays(rows: ClickRows) -> None:
    """Whoever wants no objects at all finds the same in the log."""
    assert rows.impressions.tolist() == [0, 0, 2, 2]
    assert rows.clicks.tolist() == [1, 3, 1, 3]


@given(
    shown=st.lists(st.tuples(impressions(), st.booleans()), max_size=8),
    history=st.sampled_from([1, 2, 50]),
)
def test_articles_are_what_the_rows_read(
    folder: Path, shown: list[tuple[Impression, bool]], history: int
) -> None:
    """Exactly those, each once, in their order; of a slice at least those."""
    log = written(folder, [impression for impression, _ in shown])
    rows = click_rows(log, history=history, kept=np.array([keep for _, keep in shown], bool))
    assert rows.articles().tolist() == sorted(read_by(rows))
    assert read_by(rows[1:3]) <= set(rows[1:3].articles().tolist()) <= read_by(rows)


def read_by(rows: ClickRows) -> set[int]:
    """Return what the rows read, taken one by one."""
    return {n for row in rows for n in (row.click, *row.skips, *row.history)}


def test_no_rows_read_no_articles(folder: Path) -> None:
    """An empty log is no error."""
    assert click_rows(written(folder, []), history=50).articles().tolist() == []


def test_a_log_without_candidates_has_no_rows(folder: Path) -> None:
    """Neither an empty log nor impressions that showed nothing are an error."""
    assert list(click_rows(written(folder, []), history=50)) == []
    nothing = an_impression(candidates=(), clicks=())
    assert list(click_rows(written(folder, [nothing, nothing]), history=50)) == []
