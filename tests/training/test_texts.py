"""Unlabelled texts: from the catalogue and from every kind of file."""

from pathlib import Path

import pytest

from contract.article import Article
from contract.text import TextSpec
from training.errors import DataError
from training.texts import distillation_texts, read_headlines

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
        ("c.txt", "A\x07 bell  rings\n", [("A bell rings", "")]),
        ("d.txt", "x" * 3000 + "\n", [("x" * 1000, "")]),
    ],
)
def test_each_kind_of_file(
    tmp_path: Path, name: str, content: str, parts: list[tuple[str, str]]
) -> None:
    """The ending says what is inside; control characters and endless lines are tolerated."""
    (tmp_path / name).write_text(content)
    found = [(article.title, article.abstract) for article in read_headlines(tmp_path / name)]
    assert found == parts


@pytest.mark.parametrize("line", ['{"title": "Two"}', "[1]", "{", '"text"'])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    """File and line."""
    (tmp_path / "a.jsonl").write_text(f'{{"headline": "One"}}\n{line}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: not an object with a headline"):
        list(read_headlines(tmp_path / "a.jsonl"))


def test_a_file_that_is_absent_or_in_another_encoding_is_named(tmp_path: Path) -> None:
    """The message starts with the path."""
    (tmp_path / "latin.txt").write_bytes("Käse".encode("latin-1"))
    for name in ("absent.txt", "latin.txt"):
        with pytest.raises(DataError, match=name):
            list(read_headlines(tmp_path / name))
