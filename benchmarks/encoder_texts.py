"""Which texts the encoders are measured on: an archive's distinct articles, and batches of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

from benchmarks.results import ROOT
from contract.encoder import by_length
from contract.text import TextSpec
from contract.tokens import Tokens, pad
from service.articles import read_articles

SEED = 5
texts_option = click.option(
    "--texts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    default=(ROOT / "samples" / "articles.jsonl",),
    help="Articles to encode: news.tsv or .jsonl; may be given again.",
)


def distinct_texts(spec: TextSpec, files: Iterable[Path], count: int | None = None) -> list[str]:
    """Return the texts of the files' articles, none empty or twice, at most `count` of them."""
    now = datetime.now(UTC)
    texts = sorted({spec.text(article) for file in files for article in read_articles(file, now)})
    chosen = [text for text in texts if text]
    order = np.random.default_rng(SEED).permutation(len(chosen))[:count]
    return [chosen[i] for i in order]


def file_names(files: Iterable[Path]) -> list[str]:
    """Return files as a result tells them: parts of an archive have the same name."""
    return [f"{file.parent.name}/{file.name}" for file in files]


def draw_batches(
    rows: Sequence[Sequence[int]], pad_id: int, *, tokens: int, count: int
) -> list[Tokens]:
    """Cut rows of token ids into batches of like length and draw some, seeded, none twice."""
    batches = by_length([len(row) for row in rows], tokens)
    chosen = np.random.default_rng(SEED).permutation(len(batches))[:count]
    return [pad([rows[i] for i in batches[n]], pad_id) for n in chosen]


def for_threads(texts: Sequence[str], threads: int) -> Sequence[str]:
    """Return all texts for one thread, half of them for more: a run stays a matter of minutes."""
    return texts if threads == 1 else texts[: len(texts) // 2]


def parts(texts: Sequence[str], count: int) -> list[list[str]]:
    """Deal the texts out into parts, one for each round, that together hold all of them."""
    return [list(texts[number::count]) for number in range(count)]


def headline(files: Iterable[Path]) -> str:
    """Return the title of middle length: the shortest text that a service is asked for."""
    now = datetime.now(UTC)
    titles = {article.title for file in files for article in read_articles(file, now)}
    ordered = sorted(titles - {""}, key=lambda title: (len(title), title))
    return ordered[len(ordered) // 2]
