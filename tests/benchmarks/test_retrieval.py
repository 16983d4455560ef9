"""No recall is told of wrong rows, and a rule that finds too little is refused."""

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import archives, depth, shelves
from benchmarks import retrieval as bench
from benchmarks.comparison import BenchmarkError
from benchmarks.results import FOLDER
from contract.article import Article
from contract.bundle import Bundle
from service.adapters.faiss_index import FEWEST_LISTS, SHARE
from service.scores import Scorer
from tests.builders import a_bundle, a_click_model

SIZE, DIM = 12_000, 16


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Write a tiny bundle."""
    return a_bundle(tmp_path_factory.mktemp("bundle") / "tiny", dim=DIM)


@pytest.fixture(scope="module")
def shelf(bundle: Bundle) -> shelves.Shelf:
    """Make up a catalogue just large enough for an index."""
    return shelves.made_up(bundle, readers=3, size=SIZE)


@lru_cache
def a_scorer() -> Scorer:
    """Build a scorer of the tiny bundle's width."""
    return Scorer(a_click_model(DIM))


def cells(recall: float) -> list[dict[str, Any]]:
    """Make the figures of four cells."""
    return [
        {
            "catalogue": "c",
            "kind": kind,
            "selectivity": 1.0,
            "exact_us": 900.0,
            "shares": {name: {"recall10": recall, "us": 100.0} for name in bench.BUILDERS},
        }
        for kind in shelves.KINDS
    ]


def test_what_is_published_was_measured_with_the_rule_that_ships() -> None:
    """Every cell of the result file holds, and its settings are the code's."""
    result = json.loads((FOLDER / "retrieval.json").read_text("utf-8"))
    assert (result["settings"]["share"], result["settings"]["fewest_lists"]) == (
        SHARE,
        FEWEST_LISTS,
    )
    bench.check_rule(result["runs"])
    names = result["settings"]["articles"]
    assert len(result["runs"]) == len(names) * len(shelves.KINDS) * len(bench.SELECTIVITIES)


def test_a_rule_that_finds_too_little_anywhere_is_refused() -> None:
    """One cell below 0.98 is enough, and is named."""
    found = cells(0.99)
    bench.check_rule(found)
    found[2]["shares"]["rule"]["recall10"] = 0.9799
    with pytest.raises(BenchmarkError, match=r"c, source 100.0%: recall@10 is 0.9799"):
        bench.check_rule(found)


@pytest.mark.parametrize(
    "rows", [[1, 2], [1, 2, 2], [1, 2, 7]], ids=["too few", "twice", "not eligible"]
)
def test_rows_that_are_wrong_are_refused(rows: list[int]) -> None:
    """As many different eligible rows as there are, up to R."""
    eligible = np.arange(10) < 3
    bench.check_rows(np.array([0, 1, 2]), eligible)
    with pytest.raises(BenchmarkError, match="different eligible"):
        bench.check_rows(np.array(rows), eligible)


def test_the_worst_cell_of_each_share_is_told() -> None:
    """Where it is, and what an unfiltered search costs."""
    found = cells(1.0)
    found[3]["shares"]["0.25"]["recall10"] = 0.9
    told = {row["share"]: row for row in bench.by_share(found)}
    assert told["0.25"]["least_recall10"] == 0.9
    assert told["0.25"]["where"] == "newest, 100.0%"
    assert told["rule"]["least_recall10"] == 1.0


@pytest.mark.parametrize("kind", shelves.KINDS)
@pytest.mark.parametrize("share", [1.0, 0.1, 0.001])
def test_a_filter_leaves_its_share(shelf: shelves.Shelf, kind: str, share: float) -> None:
    """Of topics and sources whole ones but the last, of times the newest."""
    snapshot = shelf.snapshot
    mask = shelves.left_by(kind, share, snapshot, np.random.default_rng(0))
    assert np.count_nonzero(mask) == round(share * SIZE)
    codes = {"topic": snapshot.columns.topics, "source": snapshot.columns.sources}
    if kind in codes:
        values = codes[kind].values[:SIZE]
        cut = [c for c in np.unique(values[mask]) if not mask[values == c].all()]
        assert len(cut) <= 1
    published = snapshot.columns.published[:SIZE]
    if kind == "newest" and share < 1:
        assert published[mask].min() > published[~mask].max()


def test_a_cell_has_recall_and_time_of_every_share(shelf: shelves.Shelf) -> None:
    """By the real search; all lists find nearly everything, and exact search is the truth."""
    cell = next(bench.measured(shelf, a_scorer()))
    assert set(cell["shares"]) == set(bench.BUILDERS)
    assert cell["shares"]["1"]["recall10"] >= 0.9
    assert min(one["us"] for one in cell["shares"].values()) > 0


def test_full_depth_loses_nothing_and_less_depth_more(shelf: shelves.Shelf) -> None:
    """Freshness is beyond what the inner product knows: few rows miss some of the best."""
    scorer = a_scorer()
    plain = depth.lost(shelf, scorer, depth.Case(None, 0.0, None))
    fresh = depth.lost(shelf, scorer, depth.Case(6.0, 0.0, None))
    assert min(overlap for overlap, _ in plain[300]) >= 0.9
    lost = {deep: np.mean([score for _, score in fresh[deep]]) for deep in depth.DEPTHS}
    assert lost[300] > lost[1_000] >= lost[3_000] >= 0


def test_an_index_loses_little_where_freshness_counts(shelf: shelves.Shelf) -> None:
    """Every case of terms is told; by clicks alone the pages are the same."""
    rows = bench.with_terms(shelf, a_scorer())
    assert len(rows) == len(depth.HALF_LIVES_H) * len(depth.WEIGHTS)
    assert rows[0]["overlap10"][0] >= 0.9
    assert abs(rows[0]["score_lost"][0]) < 0.05


def test_articles_without_a_topic_get_the_nearest_one() -> None:
    """And those with one keep it."""
    topics = ("a", "a", "b", "")
    articles = [Article(id=f"N{n}", title="", topic=topic) for n, topic in enumerate(topics)]
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.2, 0.8]], np.float32)
    named = shelves.with_topics(articles, vectors)
    assert [article.topic for article in named] == ["a", "a", "b", "b"]


def test_real_articles_come_with_their_days(tmp_path: Path) -> None:
    """From all three archives, in their formats."""
    lines = {
        archives.MIND: "N1\tsports\tgolf\tTitle\tAbstract\turl\t[]\t[]\n",
        archives.HUFFPOST: json.dumps(
            {"headline": "H", "short_description": "", "category": "ARTS", "date": "2022-09-23"}
        ),
    }
    for name, text in lines.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / archives.SEARCH).parent.mkdir()
    record = {"id": "D1", "title": "T", "abstract": "A", "date": "2018-03-15"}
    (tmp_path / archives.SEARCH).write_bytes(gzip.compress(json.dumps(record).encode()))
    articles = archives.read_archives(tmp_path)
    assert [(a.id, a.source, a.published_at and a.published_at.year) for a in articles] == [
        ("N1", "mind", 2019),
        ("H1", "huffpost", 2022),
        ("D1", "search", 2018),
    ]
    newest = shelves.newest_of(articles)
    assert [articles[n].id for n in newest] == ["H1", "N1", "D1"]
