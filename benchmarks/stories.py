"""From which cosine on two articles tell one story: edited copies against look-alikes.

Each article is paired with edited copies of itself, and with its nearest neighbour among those that
came too long before or after to tell the same story. What the service does not show is left out:
beyond `same_story_h` hours it never joins two articles.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.archives import SEARCH, search_news
from benchmarks.catalogues import SAMPLES
from benchmarks.comparison import DIGITS
from benchmarks.results import FOLDER, ROOT, write_result
from contract.article import Article
from contract.bundle import Bundle, open_bundle
from contract.encoder import BundleEncoder
from contract.intervals import Rows, bootstrap, interval, limits
from service.articles import read_articles
from service.settings import Settings

THRESHOLDS = tuple(round(0.80 + 0.01 * n, 2) for n in range(20))
LEAST_PRECISION = 0.95
SAME_STORY: Final[float] = Settings.model_fields["same_story"].default
WINDOW_S: Final[float] = 3_600 * Settings.model_fields["same_story_h"].default
AGENCIES = ("Reuters", "AP", "AFP", "dpa", "Bloomberg")
TOWNS = ("LONDON", "PARIS", "TOKYO", "NAIROBI", "LIMA")
BORDER = re.compile(r"(?:\s[-|\u2013]\s|[:;,]\s)")
SEED = 6
ROWS_AT_ONCE = 500
PACKAGES = ("numpy", "onnxruntime")
Figures = dict[str, Any]
Values = NDArray[np.float64]
Edit = Callable[[Article, np.random.Generator], Article]


@dataclass(frozen=True)
class Pairs:
    """Cosines of A articles with their copies by each edit (A, E), and with a look-alike (A,)."""

    same: Values
    other: Values


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Adds real articles.")
@click.option(
    "--bundle", "path", type=click.Path(path_type=Path), default=ROOT / "bundles/newsbert"
)
@click.option("--count", default=2_000, show_default=True, help="Articles drawn of each archive.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, data: Path | None, path: Path, count: int, out: Path) -> None:
    """Edit articles, find look-alikes, and tell what each threshold would join.

    Example: python -m benchmarks.stories --data DATA
    """
    bundle = open_bundle(path)
    archives = {"samples": read_articles(SAMPLES / "articles.jsonl", datetime.now(UTC))}
    if data is not None:
        archives["search"] = list(search_news(data / SEARCH))
    figures: Figures = {}
    runs = []
    for name, articles in archives.items():
        found = pairs(bundle, articles, count)
        rows = [{"archive": name, **at(found, threshold)} for threshold in THRESHOLDS]
        figures[name] = {
            "articles": len(found.other),
            "lowest_precise": lowest_precise(rows),
            "shipped": next(row for row in rows if row["threshold"] == SAME_STORY),
        }
        runs += rows
        click.echo(f"{name}: {figures[name]}")
    file = write_result(
        "stories",
        figures=figures,
        runs=runs,
        settings={"same_story": SAME_STORY, "window_s": WINDOW_S, "edits": list(EDITS)},
        pinning="none: nothing is timed",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")


def reworded(article: Article, _: np.random.Generator) -> Article:
    """Let the clauses of a headline change places, or drop its first word where it has but one."""
    first, *rest = BORDER.split(article.title, maxsplit=1)
    title = f"{rest[0]}, {first}" if rest else first.partition(" ")[2] or first
    return article.model_copy(update={"title": title})


def updated(article: Article, random: np.random.Generator) -> Article:
    """Put a number before the headline, as agencies number new versions."""
    return article.model_copy(update={"title": f"UPDATE {random.integers(1, 5)}-{article.title}"})


def reprinted(article: Article, random: np.random.Generator) -> Article:
    """Name an agency after the headline and before the text."""
    agency, town = random.choice(AGENCIES), random.choice(TOWNS)
    abstract = f"{town} ({agency}) - {article.abstract}"
    return article.model_copy(update={"title": f"{article.title} - {agency}", "abstract": abstract})


def cut(article: Article, _: np.random.Generator) -> Article:
    """Leave the first half of the text."""
    words = article.abstract.split()
    return article.model_copy(update={"abstract": " ".join(words[: (len(words) + 1) // 2])})


def grown(article: Article, random: np.random.Generator) -> Article:
    """Put a newer line before the text, as a live blog does."""
    line = f"Live, {random.integers(1, 12)} pm: follow the latest developments as they happen."
    title, abstract = f"{article.title} - live updates", f"{line} {article.abstract}"
    return article.model_copy(update={"title": title, "abstract": abstract})


EDITS: Final[dict[str, Edit]] = {
    "reworded": reworded,
    "updated": updated,
    "reprinted": reprinted,
    "cut": cut,
    "grown": grown,
}


def pairs(bundle: Bundle, articles: Sequence[Article], count: int) -> Pairs:
    """Draw articles; compare each with its copies and with the nearest of another time."""
    encoder, random = BundleEncoder(bundle), np.random.default_rng(SEED)
    texts = [bundle.text.text(article) for article in articles]
    vectors = encoder.vectors(texts)  # (N, D)
    drawn = random.permutation(len(articles))[:count]
    times = np.array([a.published_at.timestamp() if a.published_at else np.nan for a in articles])
    other = nearest_of_another_time(vectors, times, np.unique(texts, return_inverse=True)[1], drawn)
    same = [
        (
            encoder.vectors([bundle.text.text(edit(articles[n], random)) for n in drawn])
            * vectors[drawn]
        ).sum(axis=1)
        for edit in EDITS.values()
    ]
    has_other = other > -1
    return Pairs(np.stack(same, axis=1)[has_other].astype(np.float64), other[has_other])


def nearest_of_another_time(
    vectors: NDArray[np.float32], times: Values, texts: NDArray[np.int64], drawn: Rows
) -> Values:
    """Return the highest cosine of each drawn row with one of another time and text: (A,).

    Minus 1 where there is none. Times in seconds, texts by number: (N,) each.
    """
    found = []
    for start in range(0, len(drawn), ROWS_AT_ONCE):
        rows = drawn[start : start + ROWS_AT_ONCE]
        cosines = vectors[rows] @ vectors.T  # (rows, N)
        # Not further apart where a time is not known, either.
        cosines[~(np.abs(times[rows][:, None] - times) > WINDOW_S)] = -1
        cosines[texts[rows][:, None] == texts] = -1
        found.append(cosines.max(axis=1))
    return np.concatenate(found).astype(np.float64)


def at(found: Pairs, threshold: float) -> Figures:
    """Return what a threshold joins: copies (recall), look-alikes, and precision, one to one.

    With intervals over articles. An article's copies count together as much as its look-alike.
    """
    joined = (found.same >= threshold).mean(axis=1)  # (A,)
    wrong = (found.other >= threshold).astype(np.float64)  # (A,)

    def precision(rows: Rows) -> Values:
        true, false = joined[rows].sum(axis=-1), wrong[rows].sum(axis=-1)
        # What joins nothing joins nothing wrongly.
        return np.divide(true, true + false, out=np.ones_like(true), where=true + false > 0)

    everyone = np.arange(len(joined))[None]
    spread = limits(bootstrap(len(joined), precision, draws=2_000))
    by_edit = (found.same >= threshold).mean(axis=0)
    return {
        "threshold": threshold,
        "recall": rounded(interval(joined, draws=2_000)),
        "precision": rounded([float(precision(everyone)[0]), *spread]),
        "look_alikes_joined": rounded(interval(wrong, draws=2_000)),
        "by_edit": dict(zip(EDITS, rounded(by_edit), strict=True)),
    }


def lowest_precise(rows: Sequence[Figures]) -> float | None:
    """Return the lowest threshold from which on precision, by its interval, is high enough."""
    precise = [row["threshold"] for row in rows if row["precision"][1] >= LEAST_PRECISION]
    return min(precise, default=None)


def rounded(figures: Sequence[float] | Values) -> list[float]:
    """Round figures."""
    return [round(float(figure), DIGITS) for figure in figures]


if __name__ == "__main__":
    main()
