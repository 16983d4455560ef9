"""Real articles with their dates: MIND, HuffPost and a search archive, as one catalogue."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from contract.article import Article
from contract.lines import iter_lines, parse_object
from contract.mind import read_news

MIND, HUFFPOST, SEARCH = "mind/train/news.tsv", "topics/huffpost.jsonl", "search/news.jsonl.gz"
# MIND states no times; its impressions are of this day.
MIND_DAY = datetime(2019, 11, 15, tzinfo=UTC)


def read_archives(data: Path) -> list[Article]:
    """Return all dated articles below a folder of data; `source` names the archive."""
    mind = [
        article.model_copy(update={"source": "mind", "published_at": MIND_DAY})
        for article in read_news(data / MIND)
    ]
    return [*mind, *huffpost(data / HUFFPOST), *search_news(data / SEARCH)]


def huffpost(path: Path) -> Iterator[Article]:
    """Yield the articles of the News Category Dataset."""
    for number, raw in iter_lines(path):
        record = parse_object(path, number, raw)
        yield Article(
            id=f"H{number}",
            title=record["headline"],
            abstract=record["short_description"],
            topic=record["category"],
            source="huffpost",
            published_at=day(record["date"]),
        )


def search_news(path: Path) -> Iterator[Article]:
    """Yield the articles of the search archive, which have no topics."""
    for number, raw in iter_lines(path):
        record = parse_object(path, number, raw)
        yield Article(
            id=record["id"],
            title=record["title"],
            abstract=record["abstract"],
            source="search",
            published_at=day(record["date"]),
        )


def day(text: str) -> datetime:
    """Read a date, as the start of its day in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
