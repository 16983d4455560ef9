"""MIND folders: what is read, what is refused with its place, what is tolerated and counted."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.article import Article, Impression
from contract.mind import (
    MindError,
    MindReport,
    iter_behaviors,
    read_folder,
    read_news,
    write_folder,
)
from contract.text import TextSpec, canonical
from tests.builders import an_article, an_impression

NEWS = "N1\tsports\tsoccer\tTeam wins\tAn abstract\thttps://example.org/1\t[]\t[]"
BEHAVIOR = "1\tU1\t11/11/2019 1:03:52 PM\tN1 N2\tN3-1 N4-0"

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\t\n\r"),
    max_size=40,
)
ARTICLES = st.builds(
    Article, id=IDS, title=TEXTS, abstract=TEXTS, topic=TEXTS, subtopic=TEXTS, url=TEXTS
)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1)).map(  # noqa: DTZ001 (MIND's)
    lambda time: time.replace(microsecond=0)
)


@st.composite
def impressions(draw: st.DrawFn) -> Impression:
    """Draw an impression."""
    shown = draw(st.lists(st.tuples(IDS, st.booleans()), max_size=4))
    return Impression(
        id=draw(IDS),
        user_id=draw(IDS),
        time=draw(st.none() | TIMES),
        history=tuple(draw(st.lists(IDS, max_size=4))),
        candidates=tuple(i for i, _ in shown),
        clicks=tuple(click for _, click in shown),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that each test overwrites."""
    return tmp_path_factory.mktemp("mind")


@pytest.fixture
def news(tmp_path: Path) -> Callable[..., Path]:
    """Give a writer of `news.tsv`."""
    return lambda *lines: written(tmp_path / "news.tsv", *lines)


@pytest.fixture
def behaviors(tmp_path: Path) -> Callable[..., Path]:
    """Give a writer of `behaviors.tsv`."""
    return lambda *lines: written(tmp_path / "behaviors.tsv", *lines)


def written(path: Path, *lines: str | bytes) -> Path:
    """Write lines, given as text or as bytes."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def on_one_line(article: Article) -> Article:
    """Return what a line of a table can hold of an article."""
    names = ("title", "abstract", "topic", "subtopic", "url")
    return article.model_copy(update={n: " ".join(getattr(article, n).split()) for n in names})


@given(
    articles=st.lists(ARTICLES, max_size=5, unique_by=lambda article: article.id),
    shown=st.lists(impressions(), max_size=5),
)
def test_what_is_written_is_read(
    folder: Path, articles: list[Article], shown: list[Impression]
) -> None:
    """A folder comes back as it was, but for white space that would break a line."""
    write_folder(folder, articles, shown)
    read = read_folder(folder)
    assert read.articles == [on_one_line(article) for article in articles]
    assert read.impressions == shown


@given(article=ARTICLES)
def test_what_is_written_keeps_its_text(folder: Path, article: Article) -> None:
    """The canonical text, and so the vector, survives the folder."""
    spec = TextSpec(fields=("topic", "subtopic", "title", "abstract"))
    write_folder(folder, [article], [])
    assert spec.text(read_folder(folder).articles[0]) == spec.text(article)
    assert canonical(spec.text(article)) == spec.text(article)


def test_the_columns_are_minds(news: Callable[..., Path], behaviors: Callable[..., Path]) -> None:
    """A line of each file, read column by column."""
    assert read_news(news(NEWS)) == [
        an_article(title="Team wins", abstract="An abstract", url="https://example.org/1")
    ]
    assert list(iter_behaviors(behaviors(BEHAVIOR))) == [
        Impression(
            id="1",
            user_id="U1",
            time=datetime(2019, 11, 11, 13, 3, 52),  # noqa: DTZ001 (MIND states no zone)
            history=("N1", "N2"),
            candidates=("N3", "N4"),
            clicks=(True, False),
        )
    ]


def test_the_format_that_is_written_is_minds(tmp_path: Path) -> None:
    """Eight and five columns, months and hours without zeros, empty entity lists."""
    time = datetime(2019, 1, 2, 0, 3, 4, tzinfo=UTC)
    write_folder(tmp_path, [an_article(title="A\tB\nC")], [an_impression(time=time)])
    assert (tmp_path / "news.tsv").read_text() == "N1\tsports\tsoccer\tA B C\t\t\t[]\t[]\n"
    assert (
        tmp_path / "behaviors.tsv"
    ).read_text() == "1\tU1\t1/2/2019 12:03:04 AM\tN1\tN2-1 N3-0\n"


def test_quotes_are_characters(news: Callable[..., Path]) -> None:
    """MIND has no quoting: a quote neither opens, closes nor disappears."""
    titles = ['"Quoted" said', 'One " alone', "'single'", '""', 'ends "']
    lines = [NEWS.replace("N1", f"N{i}").replace("Team wins", t) for i, t in enumerate(titles)]
    assert [article.title for article in read_news(news(*lines))] == titles


def test_line_ends_of_windows_and_blank_lines_do_not_matter(
    news: Callable[..., Path], behaviors: Callable[..., Path]
) -> None:
    """Carriage returns at the end and empty lines are not data."""
    assert len(read_news(news(NEWS + "\r", "", "\r"))) == 1
    (impression,) = iter_behaviors(behaviors("", BEHAVIOR + "\r"))
    assert impression.candidates == ("N3", "N4")


def test_other_line_breaks_are_within_a_line(news: Callable[..., Path]) -> None:
    """Only a line feed ends a line: Unicode has more breaks, and titles have them."""
    (article,) = read_news(news(NEWS.replace("Team wins", "Team\u2028wins\u0085it")))
    assert article.title == "Team\u2028wins\u0085it"


MALFORMED_NEWS = {
    "too few columns": ("\t".join(NEWS.split("\t")[:7]), "title_entities", "7 columns"),
    "too many columns": (NEWS + "\tmore", "abstract_entities", "9 columns"),
    "quoted tab": (NEWS.replace("Team wins", '"Team\twins"'), "abstract_entities", "9 columns"),
    "bad id": (NEWS.replace("N1", "N:1"), "id", "pattern"),
    "empty id": (NEWS.replace("N1", ""), "id", "pattern"),
    "byte order mark": ("\ufeff" + NEWS, "id", "pattern"),
    "duplicate id": (NEWS.replace("N1", "N0"), "id", "'N0' occurs twice"),
    "long category": (NEWS.replace("sports", "s" * 65), "category", "64 characters"),
    "long subcategory": (NEWS.replace("soccer", "s" * 65), "subcategory", "64 characters"),
    "NUL in the title": (NEWS.replace("Team", "\x00"), "title", "pattern"),
    "not UTF-8": (NEWS.encode().replace(b"Team", b"T\xffm"), "title", "not UTF-8"),
    "UTF-16": (NEWS.encode("utf-16"), "id", "not UTF-8"),
    "not UTF-8 past the end": (NEWS.encode() + b"\t\t\xff", "abstract_entities", "not UTF-8"),
}


@pytest.mark.parametrize(("line", "column", "problem"), MALFORMED_NEWS.values(), ids=MALFORMED_NEWS)
def test_malformed_news_is_refused_with_its_place(
    news: Callable[..., Path], line: str | bytes, column: str, problem: str
) -> None:
    """The message names file, line, column and what is wrong."""
    path = news(NEWS.replace("N1", "N0"), line)
    with pytest.raises(MindError, match=rf"^news\.tsv, line 2, column {column}: .*{problem}"):
        read_news(path)


MALFORMED_BEHAVIORS = {
    "too few columns": ("1\tU1\t\tN1", "history", "4 columns"),
    "too many columns": (BEHAVIOR + "\t", "candidates", "6 columns"),
    "click that is neither": (BEHAVIOR.replace("N3-1", "N1-2"), "candidates", "'N1-2'"),
    "candidate without a click": (BEHAVIOR.replace("N3-1", "N3"), "candidates", "'N3'"),
    "candidate without an id": (BEHAVIOR.replace("N3-1", "-1"), "candidates", "'-1'"),
    "day first": (BEHAVIOR.replace("11/11", "13/11"), "time", "'13/11/2019"),
    "ISO time": (BEHAVIOR.replace("11/11/2019 1:03:52 PM", "2019-11-11"), "time", "2019-11-11"),
    "24 hours": (BEHAVIOR.replace("1:03:52 PM", "13:03:52"), "time", "13:03:52"),
    "not UTF-8": (BEHAVIOR.encode().replace(b"U1", b"\xc3("), "user", "not UTF-8"),
}


@pytest.mark.parametrize(
    ("line", "column", "problem"), MALFORMED_BEHAVIORS.values(), ids=MALFORMED_BEHAVIORS
)
def test_malformed_behaviors_are_refused_with_their_place(
    behaviors: Callable[..., Path], line: str | bytes, column: str, problem: str
) -> None:
    """The message names file, line, column and what is wrong."""
    path = behaviors(BEHAVIOR, "", line)
    with pytest.raises(MindError, match=rf"^behaviors\.tsv, line 3, column {column}: .*{problem}"):
        list(iter_behaviors(path))


@given(raw=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(folder: Path, raw: bytes) -> None:
    """No file raises anything but MindError."""
    for name, read in (("news.tsv", read_news), ("behaviors.tsv", iter_behaviors)):
        (folder / name).write_bytes(raw)
        with suppress(MindError):
            list(read(folder / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A folder without news says which file it lacks."""
    with pytest.raises(FileNotFoundError, match=r"news\.tsv"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (NEWS.replace("sports", ""), "blank_topics"),
        (NEWS.replace("An abstract", ""), "missing_abstracts"),
        (NEWS.replace("Team wins", ""), "empty_titles"),
        (NEWS.replace("\t[]\t", "\t{broken\t"), "broken_entities"),
        (NEWS.removesuffix("[]") + '[{"Label": "Rome"', "broken_entities"),
        (NEWS.removesuffix("[]") + '{"Label": "Rome"}', "broken_entities"),
        (NEWS.removesuffix("[]") + '["Rome"]', "broken_entities"),
        (NEWS.removesuffix("[]") + "{}", "broken_entities"),
        (NEWS.removesuffix("[]") + "[" * 100_000, "broken_entities"),
    ],
)
def test_odd_news_is_kept_and_counted(news: Callable[..., Path], line: str, count: str) -> None:
    """Real catalogues have gaps: the article stays, the report says how many."""
    report = MindReport()
    assert len(read_news(news(line, NEWS.replace("N1", "N2")), report)) == 2
    assert report == MindReport(articles=2, **{count: 1})


def test_entities_are_a_list_of_objects_or_blank(news: Callable[..., Path]) -> None:
    """Each column counts by itself; nobody reads what is in them."""
    whole = ("", " ", "[]", '[{"Label": "Rome", "Confidence": 1.0}, {}]')
    head = NEWS.removesuffix("[]\t[]")
    lines = [head.replace("N1", f"N{i}") + f"{e}\t{e}" for i, e in enumerate((*whole, "{broken"))]
    report = MindReport()
    assert len(read_news(news(*lines), report)) == 5
    assert report == MindReport(articles=5, broken_entities=2)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        (BEHAVIOR.replace("-1", "-0"), {"impressions_without_clicks": 1}),
        (BEHAVIOR.replace("-0", "-1"), {"impressions_without_skips": 1}),
        (
            BEHAVIOR.replace("N3-1 N4-0", ""),
            {"impressions_without_clicks": 1, "impressions_without_skips": 1},
        ),
        (BEHAVIOR.replace("N1 N2", ""), {"impressions_without_history": 1}),
        (BEHAVIOR.replace("N2", "N8 N9"), {"unknown_ids": 2}),
        (BEHAVIOR.replace("N4-0", "N8-0"), {"unknown_ids": 1}),
        (BEHAVIOR.replace("11/11/2019 1:03:52 PM", ""), {}),
    ],
)
def test_odd_behaviors_are_kept_and_counted(
    behaviors: Callable[..., Path], line: str, counts: dict[str, int]
) -> None:
    """Real logs have gaps: the impression stays, the report says how many."""
    report = MindReport()
    known = {"N1", "N2", "N3", "N4"}
    assert len(list(iter_behaviors(behaviors(line, BEHAVIOR), report, known))) == 2
    assert report == MindReport(impressions=2, **counts)


def test_the_report_reads_as_lines() -> None:
    """What did not occur is not mentioned, nor are the totals."""
    report = MindReport(articles=5, impressions=9, unknown_ids=1_234, blank_topics=1)
    assert report.lines() == ["1 blank topics", "1,234 unknown ids"]
    assert MindReport(articles=5).lines() == []


def test_an_id_with_a_dash_is_read_to_its_last_dash(behaviors: Callable[..., Path]) -> None:
    """Ids may hold dashes; the click is what follows the last."""
    (impression,) = iter_behaviors(behaviors(BEHAVIOR.replace("N3-1", "N-3-0-1")))
    assert impression.candidates == ("N-3-0", "N4")
    assert impression.clicks == (True, False)
