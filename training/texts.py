"""Unlabelled texts for text distillation: the catalogue's own and whatever files are named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from contract.article import Article
from contract.text import canonical
from training.errors import DataError


def distillation_texts(
    articles: Iterable[Article],
    *,
    abstract_chars: int,
    topic_files: Iterable[Path] = (),
    search_folder: Path | None = None,
) -> list[str]:
    """Return distinct texts: titles with and without topics, abstracts, headlines."""
    found = [
        *_article_texts(articles, abstract_chars),
        *(text for path in topic_files for text in read_headlines(path, abstract_chars)),
        *(read_search_titles(search_folder) if search_folder else ()),
    ]
    return list(dict.fromkeys(text for text in map(canonical, found) if text))


def _article_texts(articles: Iterable[Article], abstract_chars: int) -> Iterator[str]:
    for article in articles:
        yield article.title
        topics = " ".join(part for part in (article.topic, article.subtopic) if part)
        if topics:
            yield f"{topics} : {article.title}"
        yield article.abstract[:abstract_chars]


def read_headlines(path: Path, abstract_chars: int) -> Iterator[str]:
    """Yield headlines (and short descriptions) of a .jsonl, .tsv or plain text file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if path.suffix == ".jsonl":
            yield from _json_texts(path, number, line, abstract_chars)
        else:
            yield line.split("\t")[0] if path.suffix == ".tsv" else line


def _json_texts(path: Path, number: int, line: str, abstract_chars: int) -> Iterator[str]:
    try:
        record = json.loads(line)
        yield str(record["headline"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}, line {number}: not an object with a headline") from error
    yield str(record.get("short_description", ""))[:abstract_chars]


def read_search_titles(folder: Path) -> Iterator[str]:
    """Yield the titles of `news.jsonl.gz`."""
    path = folder / "news.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield str(json.loads(line)["title"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: {error}") from error
