"""Unlabelled texts for text distillation: the catalogue's own and whatever files are named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from contract.article import Article
from contract.text import TextSpec, canonical
from training.errors import DataError
from training.token_table import Rows


@dataclass(frozen=True)
class DistillationTexts:
    """Hold distinct texts, and pairs (P, 2) of a title's and its abstract's numbers."""

    texts: list[str]
    pairs: Rows


def distillation_texts(
    articles: Iterable[Article],
    spec: TextSpec,
    *,
    files: Iterable[Path] = (),
    searched: Iterable[Article] = (),
) -> DistillationTexts:
    """Return each article's title, its abstract, both joined, and how it is ranked.

    Headlines of files, and articles that are only searched, count as articles without topics.
    Whether the abstract is ranked makes no difference here: runs with and without it share a stage.
    """
    found = chain(articles, *(read_headlines(path) for path in files), searched)
    numbers: dict[str, int] = {}
    pairs = set()
    parts = (("title",), ("abstract",), ("title", "abstract"))
    views = [spec.model_copy(update={"fields": fields}) for fields in parts]
    for article in found:
        title, abstract, both = (view.text(article) for view in views)
        for text in (title, abstract, both, spec.text(article)):
            if text:
                numbers.setdefault(text, len(numbers))
        if title and abstract:
            pairs.add((numbers[title], numbers[abstract]))
    return DistillationTexts(list(numbers), np.asarray(sorted(pairs), np.int64).reshape(-1, 2))


def read_headlines(path: Path) -> Iterator[Article]:
    """Yield the headlines (and short descriptions) of a .jsonl, .tsv or plain text file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if path.suffix == ".jsonl":
            yield _json_article(path, number, line)
        else:
            yield _article(line.split("\t")[0] if path.suffix == ".tsv" else line)


def _json_article(path: Path, number: int, line: str) -> Article:
    try:
        record = json.loads(line)
        return _article(str(record["headline"]), str(record.get("short_description", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}, line {number}: not an object with a headline") from error


def _article(title: str, abstract: str = "") -> Article:
    # Nobody will ask for it by id; real headlines hold control characters, and a few are endless.
    return Article(id="unlabelled", title=canonical(title)[:1_000], abstract=canonical(abstract))
