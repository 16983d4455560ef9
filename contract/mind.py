"""Read and write MIND folders: `news.tsv` (8 columns) and `behaviors.tsv` (5), tabs, no quoting.

What is malformed stops the reading with file, line and column. What real logs merely have (blank
topics, broken entities, unknown ids, impressions without clicks) is kept and counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import from_json

from contract.article import Article, Impression
from contract.lines import MalformedFile, Report, first_problem, split_columns

NEWS_COLUMNS = (
    "id",
    "category",
    "subcategory",
    "title",
    "abstract",
    "url",
    "title_entities",
    "abstract_entities",
)
# The fields of an article that the first columns hold; the others hold entities.
ARTICLE_FIELDS = ("id", "topic", "subtopic", "title", "abstract", "url")
BEHAVIOR_COLUMNS = ("impression", "user", "time", "history", "candidates")
TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"


class MindError(MalformedFile):
    """A MIND file is malformed; the message names file, line and column."""


@dataclass(slots=True)
class MindReport(Report):
    """How often each tolerated oddity was met."""

    SIZES = ("articles", "impressions")

    articles: int = 0
    impressions: int = 0
    blank_topics: int = 0
    missing_abstracts: int = 0
    empty_titles: int = 0
    broken_entities: int = 0
    unknown_ids: int = 0
    impressions_without_clicks: int = 0
    impressions_without_skips: int = 0
    impressions_without_history: int = 0


@dataclass(frozen=True, slots=True)
class MindFolder:
    """A folder's articles and impressions, and what was odd about them."""

    articles: list[Article]
    impressions: list[Impression]
    report: MindReport = field(default_factory=MindReport)


def read_folder(path: Path) -> MindFolder:
    """Read `news.tsv` and `behaviors.tsv` of a folder."""
    report = MindReport()
    articles = read_news(path / "news.tsv", report)
    known = {article.id for article in articles}
    impressions = list(iter_behaviors(path / "behaviors.tsv", report, known))
    return MindFolder(articles, impressions, report)


def read_news(path: Path, report: MindReport | None = None) -> list[Article]:
    """Read the articles of a `news.tsv`; an id that occurs twice is an error."""
    counts = report if report is not None else MindReport()
    articles: dict[str, Article] = {}
    for number, columns in _rows(path, NEWS_COLUMNS):
        article = _article(path, number, columns)
        if article.id in articles:
            raise MindError(path, number, "id", f"{article.id!r} occurs twice")
        articles[article.id] = article
        counts.articles += 1
        counts.blank_topics += not article.topic
        counts.missing_abstracts += not article.abstract
        counts.empty_titles += not article.title
        counts.broken_entities += sum(map(_is_broken, columns[len(ARTICLE_FIELDS) :]))
    return list(articles.values())


def iter_behaviors(
    path: Path, report: MindReport | None = None, known: set[str] | None = None
) -> Iterator[Impression]:
    """Yield the impressions of a `behaviors.tsv`; with `known` ids, count those not in it."""
    counts = report if report is not None else MindReport()
    for number, columns in _rows(path, BEHAVIOR_COLUMNS):
        impression = _impression(path, number, columns)
        counts.impressions += 1
        counts.impressions_without_clicks += not any(impression.clicks)
        counts.impressions_without_skips += all(impression.clicks)
        counts.impressions_without_history += not impression.history
        if known is not None:
            ids = (*impression.history, *impression.candidates)
            counts.unknown_ids += sum(i not in known for i in ids)
        yield impression


def read_impression(path: Path, number: int, raw: bytes) -> Impression | None:
    """Read line `number` of a `behaviors.tsv` by itself; None for a blank one."""
    columns = _columns(path, number, raw, BEHAVIOR_COLUMNS)
    return None if columns is None else _impression(path, number, columns)


def parse_time(path: Path, number: int, text: str) -> datetime | None:
    """Read the time of an impression; None for a blank one."""
    if not text:
        return None
    try:
        # MIND states no zone; a naive time is kept as what it says.
        return datetime.strptime(text, TIME_FORMAT)  # noqa: DTZ007
    except ValueError as error:
        problem = f"{text!r} is not like 11/11/2019 1:03:52 PM"
        raise MindError(path, number, "time", problem) from error


def write_folder(
    path: Path, articles: Iterable[Article], impressions: Iterable[Impression]
) -> None:
    """Write a folder that `read_folder` and any other MIND reader accept."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / "news.tsv").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_news_line(article) for article in articles)
    with (path / "behaviors.tsv").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_behavior_line(impression) for impression in impressions)


def _rows(path: Path, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            columns = _columns(path, number, raw, names)
            if columns is not None:
                yield number, columns


def _columns(path: Path, number: int, raw: bytes, names: tuple[str, ...]) -> list[str] | None:
    if not raw.rstrip(b"\r\n"):
        return None
    return split_columns(path, number, raw, names, MindError)


def _article(path: Path, number: int, columns: list[str]) -> Article:
    try:
        return Article.model_validate(dict(zip(ARTICLE_FIELDS, columns, strict=False)))
    except ValidationError as error:
        field, problem = first_problem(error)
        column = NEWS_COLUMNS[ARTICLE_FIELDS.index(field)]
        raise MindError(path, number, column, problem) from error


def _is_broken(entities: str) -> bool:
    # Nobody reads them, so they stop nobody: a list of JSON objects, or nothing at all, is whole.
    if entities == "[]" or not entities.strip():
        return False
    try:
        found = from_json(entities, cache_strings="keys")
    except ValueError:
        return True
    return not (isinstance(found, list) and all(isinstance(one, dict) for one in found))


def _impression(path: Path, number: int, columns: list[str]) -> Impression:
    impression_id, user, time, history, shown = columns
    candidates, clicks = _candidates(path, number, shown)
    return Impression(
        impression_id,
        user,
        parse_time(path, number, time),
        tuple(history.split()),
        candidates,
        clicks,
    )


def _candidates(path: Path, number: int, shown: str) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    ids: list[str] = []
    clicks: list[bool] = []
    for entry in shown.split():
        article_id, _, click = entry.rpartition("-")
        if not article_id or click not in {"0", "1"}:
            raise MindError(path, number, "candidates", f"{entry!r} is not like N123-1 or N123-0")
        ids.append(article_id)
        clicks.append(click == "1")
    return tuple(ids), tuple(clicks)


def _news_line(article: Article) -> str:
    columns = [str(getattr(article, name)) for name in ARTICLE_FIELDS]
    return "\t".join([*map(_flat, columns), "[]", "[]"]) + "\n"


def _behavior_line(impression: Impression) -> str:
    shown = (f"{i}-{int(c)}" for i, c in zip(impression.candidates, impression.clicks, strict=True))
    time = _format_time(impression.time) if impression.time else ""
    history = " ".join(impression.history)
    columns = (impression.id, impression.user_id, time, history, " ".join(shown))
    return "\t".join(map(_flat, columns)) + "\n"


def _format_time(time: datetime) -> str:
    return f"{time.month}/{time.day}/{time.year} {time.hour % 12 or 12}:{time:%M:%S %p}"


def _flat(text: str) -> str:
    # A tab or line break inside a field would make another column or line.
    return " ".join(text.split())
