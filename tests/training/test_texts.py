"""Unlabelled texts: from the catalogue and from every kind of file."""

from pathlib import Path

import pytest

from contract.article import Article
from contract.lines import MalformedFile
from contract.text import TextSpec
from tests.evaluation_data import DATA
from training.texts import HeadlineReport, distillation_texts, headline_report, read_headlines

SPEC = TextSpec(fields=("topic", "subtopic", "title"), abstract_chars=3)
CUP = Article(id="N1", title="Cup won", topic="sports", subtopic="soccer", abstract="abcdef")


def test_an_article_gives_its_parts_and_what_is_ranked() -> None:
    """Title, abstract, both without topics, and the text of the run; the abstract is cut."""
    found = distillation_texts([CUP], SPEC)
    assert found.texts == ["Cup won", "abc", "Cup won. abc", "sports soccer : Cup won"]


def test_what_is_blank_is_left_out_and_what_is_equal_comes_once() -> None:
    """Two articles of one title, no abstract, no topic: one text."""
    found = distillation_texts([Article(id=i, title="Rain") for i in ("N2", "N3")], SPEC)
    assert found.texts == ["Rain"]
    assert found.pairs.shape == (0, 2)


def test_a_title_and_its_abstract_are_a_pair() -> None:
    """By their numbers among the texts; equal pairs come once, halves of pairs never."""
    articles = [
        CUP,
        CUP.model_copy(update={"id": "N4", "topic": "film"}),
        Article(id="N5", title="Cup won", abstract="xyz"),
        Article(id="N6", title="", abstract="alone"),
        Article(id="N7", title="Only a title"),
    ]
    found = distillation_texts(articles, SPEC)
    pairs = [tuple(found.texts[number] for number in pair) for pair in found.pairs]
    assert sorted(pairs) == [("Cup won", "abc"), ("Cup won", "xyz")]


def test_headlines_and_searched_articles_give_what_articles_do(tmp_path: Path) -> None:
    """After the articles, files in the order of the arguments, the searched ones last."""
    (tmp_path / "a.txt").write_text("One headline\n")
    (tmp_path / "b.jsonl").write_text('{"headline": "Found", "short_description": "xyzw"}\n')
    files = [tmp_path / "a.txt", tmp_path / "b.jsonl"]
    rain, snow = (Article(id="N2", title=title) for title in ("Rain", "Snow"))
    found = distillation_texts([rain], SPEC, files=files, searched=[snow])
    assert found.texts == ["Rain", "One headline", "Found", "xyz", "Found. xyz", "Snow"]
    assert found.pairs.tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.txt", "One headline\nAnother\n", [("One headline", ""), ("Another", "")]),
        ("a.tsv", "One headline\tsport\nAnother\tus\n", [("One headline", ""), ("Another", "")]),
        ("a.jsonl", '{"headline": "One", "short_description": "abc"}\n', [("One", "abc")]),
        ("b.jsonl", '{"headline": "One"}\n', [("One", "")]),
        ("c.jsonl", '{"headline": null, "short_description": "abc"}\n', [("", "abc")]),
        ("d.jsonl", '{"headline": "One", "short_description": null}\n', [("One", "")]),
        ("c.txt", "A\x07 bell\t  rings\r\n", [("A bell rings", "")]),
    ],
)
def test_each_kind_of_file(
    tmp_path: Path, name: str, content: str, parts: list[tuple[str, str]]
) -> None:
    """The ending says what is inside; control characters are blanks, null is no text."""
    (tmp_path / name).write_text(content, newline="")
    found = [(article.title, article.abstract) for article in read_headlines(tmp_path / name)]
    assert found == parts


@pytest.mark.parametrize("end", ["\u2028", "\u0085", "\x0c"])
def test_a_line_break_of_unicode_ends_a_line_of_plain_text_alone(tmp_path: Path, end: str) -> None:
    """As an editor shows it, and counted; a record or a row is one headline whatever is in it."""
    files = {"a.txt": "{}\n", "a.tsv": "{}\tus\n", "a.jsonl": '{{"headline": "{}"}}\n'}
    found = {}
    for name, form in files.items():
        break_ = "\\f" if end == "\x0c" and name == "a.jsonl" else end
        (tmp_path / name).write_text(form.format(f"One{break_}Two"), "utf-8")
        found[name] = headline_report(tmp_path / name)
    assert found == {
        "a.txt": HeadlineReport(texts=2, unicode_line_breaks=1),
        "a.tsv": HeadlineReport(texts=1),
        "a.jsonl": HeadlineReport(texts=1),
    }


@pytest.mark.parametrize(
    ("name", "content", "counts"),
    [
        ("a.txt", "One\n\n \n\r\nTwo", {"texts": 2, "empty_texts": 3}),
        ("a.tsv", "One\tus\n\n\tus\n", {"texts": 1, "empty_texts": 2}),
        ("a.jsonl", '\n{"headline": ""}\n{"headline": "One"}\n', {"texts": 1, "empty_texts": 2}),
        ("b.txt", "x" * 1001 + "\n" + "y" * 1000, {"texts": 2, "cut_headlines": 1}),
    ],
)
def test_what_is_odd_is_counted(
    tmp_path: Path, name: str, content: str, counts: dict[str, int]
) -> None:
    """Lines without text give nothing; an endless headline gives its first thousand characters."""
    (tmp_path / name).write_text(content, newline="")
    assert headline_report(tmp_path / name) == HeadlineReport(**counts)
    assert all(len(article.title) <= 1000 for article in read_headlines(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("a.jsonl", b'{"title": "Two"}', "headline: missing"),
        ("a.jsonl", b'{"headline": 7}', "headline: int instead of text"),
        ("a.jsonl", b'{"headline": "Two", "short_description": []}', "short_description: list"),
        ("a.jsonl", b'{"headline": "\\ud800"}', "headline: "),
        ("a.jsonl", b'{"headline": "", "short_description": "%b"}' % (b"x" * 10_001), "short_d"),
        ("a.jsonl", b"[1]", "1: not a JSON object"),
        ("a.jsonl", b"{", "2: no JSON"),
        ("a.jsonl", b'{"headline": "\xff"}', "15: not UTF-8"),
        ("a.tsv", b"Two", "headline: 1 columns instead of 2"),
        ("a.tsv", b"Two\tus\tmore", "topic: 3 columns instead of 2"),
        ("a.tsv", b"Two\t\xff", "topic: not UTF-8"),
        ("a.txt", "Käse".encode("latin-1"), "2: not UTF-8"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, name: str, line: bytes, problem: str) -> None:
    """File, line and column, by the rules of labelled texts; never the folder."""
    good = {"a.jsonl": b'{"headline": "One"}', "a.tsv": b"One\tus", "a.txt": b"One"}[name]
    (tmp_path / name).write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(MalformedFile, match=rf"^{name}, line 2, column {problem}"):
        headline_report(tmp_path / name)


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    """As everywhere that files are read."""
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        headline_report(tmp_path / "absent.txt")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("huffpost.jsonl", {"texts": 10_000}),
        ("tagmynews.tsv", {"texts": 32_602, "empty_texts": 2}),
        ("headlines.txt", {"texts": 36_901, "unicode_line_breaks": 1}),
    ],
)
def test_real_headlines_are_read(name: str, counts: dict[str, int]) -> None:
    """All of them, and what is odd is known."""
    assert headline_report(DATA / "topics" / name) == HeadlineReport(**counts)
