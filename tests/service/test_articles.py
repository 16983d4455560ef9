"""Files of articles: three formats, and whatever is malformed is named by file and line or row."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from contract.article import Article
from contract.mind import MindError, write_folder
from service.articles import ArticleFileError, in_chunks, read_articles
from tests.builders import a_catalogue, an_article

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def read(path: Path, content: bytes) -> list[Article]:
    """Write a file and read it."""
    path.write_bytes(content)
    return read_articles(path, NOW)


def lines(*values: Any) -> bytes:
    """Write values as JSON lines."""
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    """Write rows as Parquet."""
    pl.DataFrame(list(rows), infer_schema_length=None).write_parquet(path)
    return path


def test_a_mind_news_file_is_read(tmp_path: Path) -> None:
    """Eight columns; MIND knows no times."""
    articles = a_catalogue(5)
    write_folder(tmp_path, articles, [])
    assert read_articles(tmp_path / "news.tsv", NOW) == articles


@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_json_lines_are_read(tmp_path: Path, ending: str) -> None:
    """One article a line, blank lines left out, every field kept."""
    whole = an_article("N1", abstract="Är", source="wire", published_at=NOW, expires_at=NOW)
    content = lines(whole.model_dump(mode="json")) + b"\n  \n" + lines({"id": "N2", "title": "B"})
    assert read(tmp_path / f"articles.{ending}", content) == [whole, Article(id="N2", title="B")]


def test_parquet_rows_are_read(tmp_path: Path) -> None:
    """A null is a field left out; a time without a zone is in UTC."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    path = parquet(
        tmp_path / "articles.parquet",
        {"id": "N1", "title": "A", "topic": None, "expires_at": NOW.replace(tzinfo=None)},
        {"id": "N2", "title": "B", "topic": "sports", "expires_at": None},
    )
    zoned = parquet(
        tmp_path / "zoned.parquet", {"id": "N", "title": "C", "published_at": elsewhere}
    )
    assert read_articles(path, NOW) == [
        Article(id="N1", title="A", expires_at=NOW),
        Article(id="N2", title="B", topic="sports"),
    ]
    assert read_articles(zoned, NOW) == [Article(id="N", title="C", published_at=NOW)]


def test_an_age_in_hours_is_counted_back_from_now(tmp_path: Path) -> None:
    """Samples stay fresh however old their file is."""
    content = lines({"id": "N1", "title": "A", "age_hours": 1.5})
    (article,) = read(tmp_path / "articles.jsonl", content)
    assert article.published_at == NOW - timedelta(hours=1.5)


def test_an_empty_file_has_no_articles(tmp_path: Path) -> None:
    """Nothing is no error."""
    assert read(tmp_path / "articles.jsonl", b"") == []
    assert read(tmp_path / "news.tsv", b"") == []


GOOD = {"id": "N1", "title": "A"}


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (b'{"id": "N2", "title": ', "not JSON"),
        (b'{"id": "N2", "title": "\xff"}', "not JSON"),
        (b'{"id": "N2", "title": "\\ud800"}', "not JSON"),
        (b'{"id": "N2", "title": "B", "age_hours": NaN}', "not JSON"),
        (b"[]", "not an object"),
        (b'"N2"', "not an object"),
        (b'{"id": "N2"}', "title: Field required"),
        (b'{"id": "../N2", "title": "B"}', "id: "),
        (b'{"id": "N2", "title": "B", "colour": "red"}', "colour: "),
        (b'{"id": "N2", "title": "B", "published_at": "2026-11-20T12:00:00"}', "published_at: "),
        (b'{"id": "N2", "title": "B", "age_hours": "old"}', "unsupported type"),
        (b'{"id": "N2", "title": "B", "age_hours": 1e300}', ""),
        (b'{"id": "N2", "title": "B", "age_hours": 1e8}', ""),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, second: bytes, problem: str) -> None:
    """File, line and what is wrong, on one line; the input is not repeated."""
    with pytest.raises(ArticleFileError) as error:
        read(tmp_path / "bad.jsonl", lines(GOOD) + second + b"\n" + lines(GOOD))
    message = str(error.value)
    assert message.startswith("bad.jsonl, line 2: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"title": None}, "title: Field required"),
        ({"id": "a b"}, "id: "),
        ({"colour": "red"}, "colour: "),
        ({"age_hours": float("nan")}, ""),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    """File, row and what is wrong."""
    path = parquet(tmp_path / "bad.parquet", GOOD, {**GOOD, "id": "N2", **fields})
    with pytest.raises(ArticleFileError, match=f"^bad.parquet, row 2: .*{problem}"):
        read_articles(path, NOW)


def test_a_malformed_mind_file_is_named(tmp_path: Path) -> None:
    """File, line and column."""
    with pytest.raises(MindError, match=r"news.tsv, line 1, column .*columns"):
        read(tmp_path / "news.tsv", b"N1\tsports\n")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"this is no Parquet at all, PAR1 or not"])
def test_what_is_no_parquet_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """Empty, cut or something else."""
    with pytest.raises(ArticleFileError, match=r"bad\.parquet: not Parquet"):
        read(tmp_path / "bad.parquet", content)


def test_a_cut_parquet_file_is_said_to_be_none(tmp_path: Path) -> None:
    """The end of the file is where Parquet keeps its index."""
    content = parquet(tmp_path / "good.parquet", GOOD).read_bytes()
    with pytest.raises(ArticleFileError, match=r"bad\.parquet: not Parquet"):
        read(tmp_path / "bad.parquet", content[:-10])


@pytest.mark.parametrize("name", ["articles.csv", "articles", "articles.jsonl.gz"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    """The message lists what is read."""
    with pytest.raises(ArticleFileError, match=r"not one of .jsonl, .ndjson, .parquet, .tsv"):
        read(tmp_path / name, b"")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """A folder is no file either."""
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("none.jsonl", "folder.jsonl"):
        with pytest.raises(ArticleFileError, match="no such file"):
            read_articles(tmp_path / name, NOW)


def test_chunks_hold_everything_in_order() -> None:
    """The last one may be smaller; nothing gives no chunk."""
    articles = a_catalogue(7)
    assert [len(chunk) for chunk in in_chunks(articles, 3)] == [3, 3, 1]
    assert [a for chunk in in_chunks(articles, 3) for a in chunk] == articles
    assert list(in_chunks([], 3)) == []
