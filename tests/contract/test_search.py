"""Search: queries and articles as they are read, exact retrieval, figures worked out by hand."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from contract.lines import MalformedFile
from contract.search import (
    TOP,
    Query,
    SearchReport,
    nearest,
    query_values,
    read_search,
    search_figures,
)
from tests.evaluation_data import DATA

ARTICLE = {"id": "D1", "title": "Cup won", "abstract": "It was close.", "date": "2022-01-02"}


def a_folder(path: Path, *, news: bytes = b"", train: str | None = "", dev: str = "") -> Path:
    """Write a search folder; without news it has three articles."""
    path.mkdir(exist_ok=True)
    lines = [json.dumps({**ARTICLE, "id": f"D{i}"}) for i in (1, 2, 3)]
    raw = news or "\n".join(lines).encode()
    (path / "news.jsonl.gz").write_bytes(gzip.compress(raw))
    if train is not None:
        (path / "train.tsv").write_text(train, encoding="utf-8")
    (path / "dev.tsv").write_text(dev, encoding="utf-8")
    return path


def test_a_folder_is_articles_and_queries(tmp_path: Path) -> None:
    """Dates and other keys are left alone; queries keep the order of the file."""
    folder = read_search(a_folder(tmp_path, train="1\tWho won?\tD2 D1\n", dev="2\tWhere?\tD3\n"))
    assert [article.id for article in folder.articles] == ["D1", "D2", "D3"]
    assert folder.articles[0].abstract == "It was close."
    assert folder.train == [Query("1", "Who won?", ("D2", "D1"))]
    assert folder.dev == [Query("2", "Where?", ("D3",))]
    assert folder.report == SearchReport(articles=3, queries=2)
    assert folder.report.lines() == []


def test_articles_may_be_uncompressed_and_train_queries_absent(tmp_path: Path) -> None:
    """To measure, neither gzip nor queries to learn from are needed."""
    path = a_folder(tmp_path, train=None, dev="2\tWhere?\tD3\n")
    (path / "news.jsonl").write_bytes(gzip.decompress((path / "news.jsonl.gz").read_bytes()))
    (path / "news.jsonl.gz").unlink()
    assert len(read_search(path).articles) == 3
    assert read_search(path).train == []


def test_what_real_folders_lack_is_counted_and_left_out(tmp_path: Path) -> None:
    """Unknown relevant ids, queries without answer or text; a repeated id is one answer."""
    news = b'{"id": "D1", "title": "", "abstract": null}\n\n{"id": "D2", "title": "Cup"}\n'
    dev = "1\tA\tD1 D9 D1\n2\tB\tD8\n3\tC\t\n4\t \tD2\n"
    folder = read_search(a_folder(tmp_path, news=news, dev=dev))
    assert folder.dev == [Query("1", "A", ("D1",))]
    assert folder.report == SearchReport(
        articles=2,
        queries=4,
        empty_titles=1,
        missing_abstracts=2,
        unknown_relevant_ids=2,
        queries_without_text=1,
        queries_without_relevant_article=2,
    )
    assert "2 unknown relevant ids" in folder.report.lines()


@pytest.mark.parametrize(
    ("news", "place"),
    [
        (b"{", "column 2: no JSON"),
        (b'"D1"', "column 1: not a JSON object"),
        (b'{"title": "Cup"}', "column id: String should match"),
        (b'{"id": "D1", "title": 3}', "column title: int instead of text"),
        (b'{"id": "D0"}', "column id: 'D0' occurs twice"),
        (b'{"id": "\xe9"}', "column 9: not UTF-8"),
    ],
)
def test_a_malformed_article_is_named_by_its_place(tmp_path: Path, news: bytes, place: str) -> None:
    """File, line and column."""
    path = a_folder(tmp_path, news=b'{"id": "D0"}\n' + news)
    with pytest.raises(MalformedFile, match=rf"^news\.jsonl\.gz, line 2, {place}"):
        read_search(path)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("2\tWhere?", "column query: 2 columns instead of 3"),
        ("2\tWhere?\tD1\tD2", "column relevant ids: 4 columns instead of 3"),
        ("1\tWhere?\tD1", "column query id: '1' occurs twice"),
        (" \tWhere?\tD1", "column query id: blank"),
    ],
)
def test_a_malformed_query_is_named_by_its_place(tmp_path: Path, line: str, place: str) -> None:
    """File, line and column."""
    path = a_folder(tmp_path, dev=f"1\tWho?\tD1\n{line}\n")
    with pytest.raises(MalformedFile, match=rf"^dev\.tsv, line 2, {place}"):
        read_search(path)


@pytest.mark.parametrize("kept", [-9, 5])
def test_a_damaged_archive_is_named(tmp_path: Path, kept: int) -> None:
    """Cut off at its end or in its head."""
    path = a_folder(tmp_path)
    whole = (path / "news.jsonl.gz").read_bytes()
    (path / "news.jsonl.gz").write_bytes(whole[:kept])
    with pytest.raises(MalformedFile, match=r"^news\.jsonl\.gz, line \d, column 1: damaged gzip"):
        read_search(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Articles and queries to measure must be there."""
    with pytest.raises(FileNotFoundError, match=r"news\.jsonl\.gz"):
        read_search(tmp_path)
    (a_folder(tmp_path) / "dev.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv"):
        read_search(tmp_path)


def test_retrieval_is_exact_and_ties_go_to_the_smaller_id() -> None:
    """Against a plain sort in Python, over several blocks of queries."""
    random = np.random.default_rng(0)
    articles = random.standard_normal((60, 4)).astype(np.float32)
    articles[30:] = articles[:30]
    queries = random.standard_normal((70, 4)).astype(np.float32)
    ids = [f"D{i}" for i in random.permutation(60)]
    found = nearest(queries, articles, ids)
    for query, row in zip(queries, found, strict=True):
        scores = {one: float(np.float32(v.astype(np.float64) @ query))
                  for one, v in zip(ids, articles, strict=True)}  # fmt: skip
        assert row == sorted(ids, key=lambda one: (-scores[one], one))[:TOP]


def test_fewer_articles_than_ten_are_all_found() -> None:
    """In order."""
    found = nearest(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), ["b", "a"])
    assert found == [["b", "a"], ["a", "b"]]


def test_a_vector_that_is_not_finite_is_refused() -> None:
    """It would sort somewhere."""
    good, bad = np.eye(2, dtype=np.float32), np.full((2, 2), np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match="not finite"):
        nearest(good, bad, ["a", "b"])


def test_the_figures_are_those_worked_out_by_hand() -> None:
    """Hits at ranks 2 and 4, 3 relevant: 2/3, (1/log2 3 + 1/log2 5) / (1 + 1/log2 3 + 1/2), 1/2."""
    query = Query("1", "Who?", ("a", "b", "c"))
    found = [["x", "a", "y", "b", "z"]]
    values = query_values([query], found)
    assert values["recall10"] == [pytest.approx(2 / 3)]
    assert values["ndcg10"] == [pytest.approx((0.63093 + 0.43068) / (1 + 0.63093 + 0.5), abs=1e-4)]
    assert values["mrr10"] == [0.5]


def test_what_is_found_beyond_ten_does_not_count() -> None:
    """The eleventh is no hit."""
    query = Query("1", "Who?", ("a",))
    late = [*(f"x{i}" for i in range(TOP)), "a"]
    assert [v[0] for v in query_values([query], [late]).values()] == [0, 0, 0]
    assert [v[0] for v in query_values([query], [late[1:]]).values()] == [
        1,
        pytest.approx(1 / np.log2(11)),
        0.1,
    ]


def test_more_than_ten_relevant_articles_can_still_be_ranked_perfectly() -> None:
    """Then nDCG is 1, and recall is what ten of them are."""
    query = Query("1", "Who?", tuple(f"x{i}" for i in range(20)))
    values = query_values([query], [[f"x{i}" for i in range(TOP)]])
    assert (values["ndcg10"][0], values["recall10"][0]) == (pytest.approx(1), 0.5)


def test_figures_are_means_over_queries() -> None:
    """One found first, one not at all."""
    queries = [Query("1", "A", ("a",)), Query("2", "B", ("b",))]
    figures = search_figures(queries, [["a"], ["a"]])
    assert (figures.recall10, figures.ndcg10, figures.mrr10) == (0.5, 0.5, 0.5)
    assert figures.queries == 2
    with pytest.raises(ValueError, match="nothing to measure"):
        search_figures([], [])


@pytest.mark.data
def test_the_evaluation_data_has_the_counts_it_says() -> None:
    """26,214 articles, 1,200 and 100 queries, nothing odd."""
    folder = read_search(DATA / "search")
    assert (len(folder.articles), len(folder.train), len(folder.dev)) == (26_214, 1_200, 100)
    assert folder.report.lines() == []
