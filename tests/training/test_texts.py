"""Unlabelled texts: from the catalogue and from every kind of file."""

import gzip
import json
from pathlib import Path

import pytest

from contract.article import Article
from training.errors import DataError
from training.texts import distillation_texts, read_headlines


def test_an_article_gives_its_title_with_and_without_topics_and_its_abstract() -> None:
    """The abstract is cut; what is blank is left out; what is equal comes once."""
    articles = [
        Article(id="N1", title="Cup won", topic="sports", subtopic="soccer", abstract="abcdef"),
        Article(id="N2", title="Rain"),
        Article(id="N3", title="Rain"),
    ]
    texts = distillation_texts(articles, abstract_chars=3)
    assert texts == ["Cup won", "sports soccer : Cup won", "abc", "Rain"]


@pytest.mark.parametrize(
    ("name", "content", "headlines"),
    [
        ("a.txt", "One headline\nAnother\n", ["One headline", "Another"]),
        ("a.tsv", "One headline\tsport\nAnother\tus\n", ["One headline", "Another"]),
        ("a.jsonl", '{"headline": "One", "short_description": "abcdef"}\n', ["One", "abc"]),
        ("b.jsonl", '{"headline": "One"}\n', ["One", ""]),
    ],
)
def test_each_kind_of_file(tmp_path: Path, name: str, content: str, headlines: list[str]) -> None:
    """The ending says what is inside."""
    (tmp_path / name).write_text(content)
    assert list(read_headlines(tmp_path / name, 3)) == headlines


def test_titles_of_a_search_folder(tmp_path: Path) -> None:
    """Only the title counts."""
    with gzip.open(tmp_path / "news.jsonl.gz", "wt") as file:
        file.write(json.dumps({"id": "D1", "title": "Found", "abstract": "x"}) + "\n")
    assert distillation_texts([], abstract_chars=9, search_folder=tmp_path) == ["Found"]


def test_a_broken_line_or_absent_file_is_named(tmp_path: Path) -> None:
    """File and line, or the path."""
    (tmp_path / "a.jsonl").write_text('{"headline": "One"}\n{"title": "Two"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 2"):
        list(read_headlines(tmp_path / "a.jsonl", 3))
    for wanted in ({"topic_files": [tmp_path / "no.txt"]}, {"search_folder": tmp_path}):
        with pytest.raises(DataError, match=r"no\.txt|news\.jsonl\.gz"):
            distillation_texts([], abstract_chars=3, **wanted)
