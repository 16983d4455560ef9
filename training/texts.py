"""Unlabelled texts for text distillation: the catalogue's own and whatever files are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from contract.article import Article
from contract.lines import (
    MalformedFile,
    Report,
    decode,
    first_problem,
    iter_lines,
    parse_object,
    split_columns,
    text_of,
)
from contract.text import TextSpec, canonical
from contract.topics import COLUMN_KEYS, RECORD_KEYS
from training.token_table import Rows

# Of a headline; a few real ones are endless.
LONGEST = 1_000


@dataclass(frozen=True)
class DistillationTexts:
    """Hold distinct texts, and pairs (P, 2) of a title's and its abstract's numbers."""

    texts: list[str]
    pairs: Rows


@dataclass(slots=True)
class HeadlineReport(Report):
    """Count what a file of headlines gives, and how often each tolerated oddity was met."""

    SIZES = ("texts",)

    texts: int = 0
    empty_texts: int = 0
    cut_headlines: int = 0
    unicode_line_breaks: int = 0


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


def headline_report(path: Path) -> HeadlineReport:
    """Read a file to its end, before anything is learnt, and return what was odd in it."""
    report = HeadlineReport()
    for _ in read_headlines(path, report):
        pass
    return report


def read_headlines(path: Path, report: HeadlineReport | None = None) -> Iterator[Article]:
    """Yield the headlines (and short descriptions) of a .jsonl, .tsv or plain text file.

    What is malformed raises a MalformedFile; empty texts are counted and left out, endless
    headlines are cut. Plain text also ends a line where Unicode does, as an editor shows it.
    """
    counts = report if report is not None else HeadlineReport()
    for number, raw in iter_lines(path, blank=True):
        found = _headlines(path, number, raw)
        counts.unicode_line_breaks += len(found) - 1
        for parts in found:
            # Real headlines hold control characters, which no article may.
            title, abstract = map(canonical, parts)
            counts.texts += bool(title or abstract)
            counts.empty_texts += not (title or abstract)
            counts.cut_headlines += len(title) > LONGEST
            if title or abstract:
                yield _article(path, number, title[:LONGEST], abstract)


def _headlines(path: Path, number: int, raw: bytes) -> list[tuple[str, str]]:
    if not raw.strip():
        return [("", "")]
    if path.suffix == ".jsonl":
        record = parse_object(path, number, raw)
        title = text_of(path, number, record, RECORD_KEYS["title"], required=True)
        return [(title, text_of(path, number, record, RECORD_KEYS["abstract"]))]
    if path.suffix == ".tsv":
        return [(split_columns(path, number, raw, tuple(COLUMN_KEYS.values()))[0], "")]
    return [(line, "") for line in decode(path, number, raw).splitlines()]


def _article(path: Path, number: int, title: str, abstract: str) -> Article:
    try:
        # Nobody will ask for it by id.
        return Article(id="unlabelled", title=title, abstract=abstract)
    except ValidationError as error:
        field, problem = first_problem(error)
        raise MalformedFile(path, number, RECORD_KEYS[field], problem) from error
