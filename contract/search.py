"""Search: queries and the articles relevant to them, exact retrieval and its figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from contract.article import Article, Vectors
from contract.lines import (
    MalformedFile,
    Report,
    first_problem,
    iter_lines,
    parse_object,
    split_columns,
    text_of,
)

QUERY_COLUMNS = ("query id", "query", "relevant ids")
NEWS = ("news.jsonl.gz", "news.jsonl")
TOP = 10
# One block of scores holds so many queries: 32 times 26,000 articles in double precision are 7 MB.
QUERIES_PER_BLOCK = 32

Found: TypeAlias = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody asked, and the articles that answer it."""

    id: str
    text: str
    relevant: tuple[str, ...]


@dataclass(slots=True)
class SearchReport(Report):
    """How often each tolerated oddity was met; queries without text or answer are left out."""

    SIZES = ("articles", "queries")

    articles: int = 0
    queries: int = 0
    empty_titles: int = 0
    missing_abstracts: int = 0
    unknown_relevant_ids: int = 0
    queries_without_text: int = 0
    queries_without_relevant_article: int = 0


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """Articles to search, queries to learn from, queries to measure, and what was odd."""

    articles: list[Article]
    train: list[Query]
    dev: list[Query]
    report: SearchReport = field(default_factory=SearchReport)


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Means over queries: the share of relevant articles in the top 10, nDCG@10 and MRR@10."""

    recall10: float
    ndcg10: float
    mrr10: float
    queries: int


def read_search(path: Path) -> SearchFolder:
    """Read `news.jsonl.gz` (or `news.jsonl`), `train.tsv` (if there is one) and `dev.tsv`."""
    report = SearchReport()
    news = next((path / name for name in NEWS if (path / name).is_file()), path / NEWS[0])
    articles = _read_articles(news, report)
    known = {article.id for article in articles}
    train = path / "train.tsv"
    return SearchFolder(
        articles,
        _read_queries(train, known, report) if train.exists() else [],
        _read_queries(path / "dev.tsv", known, report),
        report,
    )


def nearest(queries: Vectors, articles: Vectors, ids: Sequence[str]) -> list[list[str]]:
    """Return the ids of the ten articles with the highest inner product: (Q, D), (N, D).

    Vectors have unit length. Every article is compared with every query; ties go to the smaller id.
    """
    if not (np.isfinite(queries).all() and np.isfinite(articles).all()):
        raise ValueError("a vector is not finite: there is no order to judge")
    order = np.argsort(np.asarray(ids, dtype=np.str_), kind="stable")
    # As `ClickModel.score`: in double precision, so that equal vectors tie exactly.
    wide = articles[order].astype(np.float64).T  # (D, N)
    found: list[list[str]] = []
    for start in range(0, len(queries), QUERIES_PER_BLOCK):
        scores = (queries[start : start + QUERIES_PER_BLOCK] @ wide).astype(np.float32)
        found += [[ids[order[i]] for i in row] for row in top_rows(scores)]
    return found


def top_rows(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the columns of the ten highest scores of each row, earlier ones first on ties."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def query_values(queries: Sequence[Query], found: Found) -> dict[str, list[float]]:
    """Return recall10, ndcg10 and mrr10 of each query for the ids found, best first."""
    rows = [_values(query, ids[:TOP]) for query, ids in zip(queries, found, strict=True)]
    return {
        name: [row[i] for row in rows] for i, name in enumerate(("recall10", "ndcg10", "mrr10"))
    }


def search_figures(queries: Sequence[Query], found: Found) -> SearchFigures:
    """Average over queries."""
    if not queries:
        raise ValueError("no query has a relevant article: nothing to measure")
    values = query_values(queries, found)
    return SearchFigures(**{n: float(np.mean(v)) for n, v in values.items()}, queries=len(queries))


def _values(query: Query, ids: Sequence[str]) -> tuple[float, float, float]:
    hits = np.isin(np.asarray(ids, dtype=np.str_), query.relevant).astype(np.float64)
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    ideal = discounts[: len(query.relevant)].sum()
    first = hits.argmax() + 1 if hits.any() else np.inf
    gained = (hits * discounts[: len(hits)]).sum()
    return float(hits.sum() / len(query.relevant)), float(gained / ideal), float(1 / first)


def _read_articles(path: Path, report: SearchReport) -> list[Article]:
    articles: dict[str, Article] = {}
    for number, raw in iter_lines(path):
        article = _article(path, number, raw)
        if article.id in articles:
            raise MalformedFile(path, number, "id", f"{article.id!r} occurs twice")
        articles[article.id] = article
        report.articles += 1
        report.empty_titles += not article.title
        report.missing_abstracts += not article.abstract
    return list(articles.values())


def _article(path: Path, number: int, raw: bytes) -> Article:
    record = parse_object(path, number, raw)
    fields = {key: text_of(path, number, record, key) for key in ("id", "title", "abstract")}
    try:
        return Article.model_validate(fields)
    except ValidationError as error:
        raise MalformedFile(path, number, *first_problem(error)) from error


def _read_queries(path: Path, known: set[str], report: SearchReport) -> list[Query]:
    queries, seen = [], set[str]()
    for number, query in _iter_queries(path):
        if query.id in seen:
            raise MalformedFile(path, number, QUERY_COLUMNS[0], f"{query.id!r} occurs twice")
        seen.add(query.id)
        relevant = tuple(i for i in query.relevant if i in known)
        report.queries += 1
        report.unknown_relevant_ids += len(query.relevant) - len(relevant)
        report.queries_without_text += not query.text
        report.queries_without_relevant_article += not relevant
        if query.text and relevant:
            queries.append(Query(query.id, query.text, relevant))
    return queries


def _iter_queries(path: Path) -> Iterator[tuple[int, Query]]:
    for number, raw in iter_lines(path):
        query_id, text, relevant = split_columns(path, number, raw, QUERY_COLUMNS)
        if not query_id.strip():
            raise MalformedFile(path, number, QUERY_COLUMNS[0], "blank")
        yield number, Query(query_id, text.strip(), tuple(dict.fromkeys(relevant.split())))
