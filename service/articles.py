"""Read files of articles: MIND `news.tsv`, JSON lines, Parquet."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from contract.article import Article
from contract.mind import read_news


class ArticleFileError(ValueError):
    """A file of articles cannot be read; the message names file and line or row."""


def read_articles(path: Path, now: datetime) -> list[Article]:
    """Read all articles of a file by its ending: `.tsv`, `.jsonl`/`.ndjson` or `.parquet`.

    JSON lines and Parquet rows have the fields of an article; `age_hours` may stand for
    `published_at` and is counted back from `now`. Raises ArticleFileError or MindError.
    """
    readers = {".tsv": _mind, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet}
    if path.suffix not in readers:
        raise ArticleFileError(f"{path.name}: not one of {', '.join(sorted(readers))}")
    if not path.is_file():
        raise ArticleFileError(f"{path}: no such file")
    return readers[path.suffix](path, now)


def in_chunks(articles: Iterable[Article], size: int) -> Iterator[list[Article]]:
    """Cut articles into lists of at most `size`."""
    rest = iter(articles)
    while chunk := list(islice(rest, size)):
        yield chunk


def _mind(path: Path, _: datetime) -> list[Article]:
    return read_news(path)


def _json_lines(path: Path, now: datetime) -> list[Article]:
    with path.open("rb") as file:
        return [
            _article(path, f"line {number}", _parsed(path, number, line), now)
            for number, line in enumerate(file, 1)
            if line.strip()
        ]


def _parquet(path: Path, now: datetime) -> list[Article]:
    import polars as pl

    try:
        rows = pl.read_parquet(path).iter_rows(named=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArticleFileError(f"{path.name}: not Parquet") from error
    return [
        _article(path, f"row {number}", {k: v for k, v in row.items() if v is not None}, now)
        for number, row in enumerate(rows, 1)
    ]


def _parsed(path: Path, number: int, line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ArticleFileError(f"{path.name}, line {number}: not JSON") from error


def _article(path: Path, where: str, fields: object, now: datetime) -> Article:
    if not isinstance(fields, dict):
        raise ArticleFileError(f"{path.name}, {where}: not an object")
    try:
        return Article(**_with_time(fields, now))
    except (ValueError, TypeError, OverflowError) as error:
        raise ArticleFileError(f"{path.name}, {where}: {_problem(error)}") from error


def _with_time(fields: dict[str, Any], now: datetime) -> dict[str, Any]:
    rest = dict(fields)
    age = rest.pop("age_hours", None)
    if age is not None:
        rest["published_at"] = now - timedelta(hours=age)
    for name, value in rest.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            # Parquet files often hold times in UTC without saying so.
            rest[name] = value.replace(tzinfo=UTC)
    return rest


def _problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
