"""Topics: labelled texts by taxonomy, faults by place, figures worked out by hand."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from contract.article import Vectors
from contract.held_out import hold_out
from contract.lines import MalformedFile
from contract.mind import write_folder
from contract.text import TextSpec
from contract.topics import (
    MIN_TEXTS,
    LabelledText,
    TopicReport,
    UnknownTaxonomy,
    full_name,
    labelled_articles,
    macro_f_limits,
    normalised,
    predict_topics,
    read_topics,
    taxonomies,
    taxonomy_of,
    topic_figures,
    topic_hits,
)
from tests.builders import an_article
from tests.evaluation_data import DATA

SPEC = TextSpec(fields=("topic", "subtopic", "title", "abstract"), abstract_chars=9)


def write_lines(path: Path, *records: object) -> Path:
    """Write records as JSON lines, texts as they are."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def a_record(headline: str = "Cup won", **more: object) -> dict[str, object]:
    """Build a record of a topic file."""
    return {"headline": headline, "short_description": "", "category": "SPORTS", **more}


def some_texts(*topics: str) -> list[LabelledText]:
    """Build one text for each topic named."""
    return [LabelledText(str(i), f"text {i}", f"x/{topic}") for i, topic in enumerate(topics)]


def test_a_full_name_is_split_at_the_first_slash() -> None:
    """A topic may hold further ones."""
    assert full_name("huffpost", "U.S. NEWS") == "huffpost/U.S. NEWS"
    assert taxonomy_of("own/art/film") == "own"


def test_a_bare_name_is_one_of_mind() -> None:
    """Bundles from before taxonomies have such."""
    assert normalised(["sports", "huffpost/SPORTS"]) == ["mind/sports", "huffpost/SPORTS"]
    assert taxonomies(["sports", "huffpost/SPORTS", "news"]) == ["mind", "huffpost"]


def test_a_json_record_becomes_a_text_as_the_run_reads_texts(tmp_path: Path) -> None:
    """Headline and the beginning of the description, never the category."""
    file = write_lines(
        tmp_path / "huffpost.jsonl", a_record(short_description="The final was close.", date="x")
    )
    (text,) = read_topics(file, SPEC)
    assert (text.text, text.topic) == ("Cup won. The final", "huffpost/SPORTS")
    (short,) = read_topics(file, TextSpec(fields=("topic", "title")))
    assert short.text == "Cup won"
    assert short.id == text.id


def test_a_record_keeps_its_own_id(tmp_path: Path) -> None:
    """Only a record without one is known by its headline."""
    file = write_lines(tmp_path / "own.jsonl", a_record(id="H1"), a_record(), a_record(id=None))
    texts = read_topics(file, SPEC)
    assert texts[0].id == "H1"
    assert texts[1].id == texts[2].id != "H1"


def test_a_table_has_headline_and_topic(tmp_path: Path) -> None:
    """Two columns; its stem is the taxonomy unless another is given."""
    file = write_lines(tmp_path / "tagmynews.tsv", "Cup won\tsport", "Law passed\tus")
    assert [t.topic for t in read_topics(file, SPEC)] == ["tagmynews/sport", "tagmynews/us"]
    assert read_topics(file, SPEC, taxonomy="own")[0].topic == "own/sport"


def test_articles_of_mind_are_texts_of_mind(tmp_path: Path) -> None:
    """By their own ids; those without a topic are counted and left out."""
    articles = [
        an_article("N1", title="Cup won", topic="sports", abstract="Close."),
        an_article("N2", topic="", subtopic=""),
        an_article("N3", title="", abstract="", topic="news"),
        an_article("N4", title="Law", topic="news"),
    ]
    write_folder(tmp_path, articles, [])
    report = TopicReport()
    texts = read_topics(tmp_path / "news.tsv", SPEC, report)
    assert texts == [
        LabelledText("N1", "Cup won. Close.", "mind/sports"),
        LabelledText("N4", "Law", "mind/news"),
    ]
    assert report == TopicReport(texts=2, blank_topics=1, empty_texts=1)
    assert report.lines() == ["1 blank topics", "1 empty texts"]


def test_an_empty_description_is_counted_and_kept(tmp_path: Path) -> None:
    """The headline alone is a text; a table has no descriptions to miss."""
    report = TopicReport()
    write_lines(tmp_path / "a.tsv", "Cup\tsport")
    assert len(read_topics(write_lines(tmp_path / "a.jsonl", a_record()), SPEC, report)) == 1
    assert len(read_topics(tmp_path / "a.tsv", SPEC, report)) == 1
    assert report.texts == 2
    assert report.lines() == ["1 empty descriptions"]


def test_changing_category_and_subcategory_changes_no_text() -> None:
    """Whatever the specification says about articles that are recommended."""
    ours, theirs = (
        labelled_articles([an_article(topic=topic, subtopic=topic)], SPEC)[0]
        for topic in ("sports", "weather")
    )
    assert ours.text == theirs.text
    assert "sports" not in ours.text.lower()


@pytest.mark.parametrize(
    ("name", "line", "place"),
    [
        ("a.jsonl", '{"headline": "Cup", "category": "X"', r"column \d+: no JSON"),
        ("a.jsonl", '["Cup"]', "column 1: not a JSON object"),
        ("a.jsonl", '{"category": "X"}', "column headline: missing"),
        ("a.jsonl", '{"headline": "Cup"}', "column category: missing"),
        ("a.jsonl", '{"headline": "Cup", "category": 7}', "column category: int instead of text"),
        ("a.jsonl", '{"headline": ["Cup"], "category": "X"}', "column headline: list instead"),
        ("a.jsonl", '{"headline": "C\\u0000up", "category": "X"}', "column headline: String"),
        ("a.jsonl", '{"headline": "Cup", "category": "X", "id": "a b"}', "column id: String"),
        ("a.jsonl", '{"headline": "Cup", "category": "X", "id": "H1"}', "column id: 'H1' occurs"),
        ("a.tsv", "Cup", "column headline: 1 columns instead of 2"),
        ("a.tsv", "Cup\tsport\tmore", "column topic: 3 columns instead of 2"),
        ("a.tsv", "Cup\t" + "x" * 65, "column topic: String"),
    ],
)
def test_what_is_malformed_is_named_by_its_place(
    tmp_path: Path, name: str, line: str, place: str
) -> None:
    """File, line and column."""
    good = a_record(id="H1") if name.endswith("jsonl") else "Law\tus"
    file = write_lines(tmp_path / name, good, line)
    with pytest.raises(MalformedFile, match=f"^{re.escape(name)}, line 2, {place}"):
        read_topics(file, SPEC)


@pytest.mark.parametrize(("name", "place"), [("a.jsonl", "14"), ("a.tsv", "topic")])
def test_another_encoding_is_named_by_its_place(tmp_path: Path, name: str, place: str) -> None:
    """Latin-1 is not guessed."""
    path = tmp_path / name
    path.write_bytes(b'{"headline": \xe9}\n' if name == "a.jsonl" else b"Cup\tcaf\xe9\n")
    with pytest.raises(
        MalformedFile, match=f"^{re.escape(name)}, line 1, column {place}: not UTF-8"
    ):
        read_topics(path, SPEC)


class Oracle:
    """Gives each text the logits that its number says."""

    def __init__(self, logits: Sequence[Sequence[float]]) -> None:
        self.logits = np.asarray(logits, dtype=np.float32)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return the rows of the texts."""
        return self.logits[[int(text.split()[1]) for text in texts]]


def test_a_text_is_classified_among_its_own_taxonomy() -> None:
    """However likely a topic of another one is; of two equal ones the first."""
    names = ["x/a", "y/a", "x/b", "sports"]
    oracle = Oracle([[0, 9, 1, 9], [2, 9, 1, 9], [1, 9, 1, 9]])
    texts = some_texts("a", "a", "a")
    assert predict_topics(oracle, texts, names, "x") == ["x/b", "x/a", "x/a"]
    assert predict_topics(oracle, texts, names, "mind") == ["mind/sports"] * 3


def test_a_taxonomy_that_the_model_does_not_know_is_refused_by_name() -> None:
    """With those that it knows."""
    with pytest.raises(UnknownTaxonomy, match="no topics of 'z'; it knows mind, y"):
        predict_topics(Oracle([[0, 0]]), some_texts("a"), ["sports", "y/a"], "z")


def test_accuracy_and_macro_f_are_those_worked_out_by_hand() -> None:
    """Topic a: 20 texts, 15 found; b: 20 texts, all found; c has too few texts for macro-F.

    a: precision 15/16 (one c was taken for it), recall 15/20: F = 30/36.
    b: precision 20/25, recall 1: F = 40/45. Accuracy: 35 of 42.
    """
    wanted = some_texts(*"a" * 20, *"b" * 20, *"cc")
    found = [f"x/{topic}" for topic in (*"a" * 15, *"b" * 25, "a", "d")]
    figures = topic_figures(wanted, found)
    assert figures.texts == 42
    assert figures.accuracy == pytest.approx(35 / 42)
    assert figures.macro_f == pytest.approx((30 / 36 + 40 / 45) / 2)
    assert sum(topic_hits(wanted, found)) == 35
    low, high = macro_f_limits(wanted, found) or (0, 0)
    assert low < (30 / 36 + 40 / 45) / 2 < high


def test_macro_f_needs_a_topic_with_enough_texts() -> None:
    """One text less and there is none to report."""
    for count, is_known in ((MIN_TEXTS, True), (MIN_TEXTS - 1, False)):
        texts = some_texts(*"a" * count)
        figures = topic_figures(texts, ["x/a"] * count)
        assert figures.macro_f == (1.0 if is_known else None)
        assert macro_f_limits(texts, ["x/a"] * count) == ((1.0, 1.0) if is_known else None)


def test_the_figures_agree_with_scikit_learn() -> None:
    """On many texts of topics that are all frequent."""
    from sklearn.metrics import accuracy_score, f1_score

    random = np.random.default_rng(0)
    wanted = some_texts(*random.choice(list("abcd"), size=400))
    found = [
        text.topic if random.random() < 0.6 else f"x/{random.choice(list('abcd'))}"
        for text in wanted
    ]
    figures, topics = topic_figures(wanted, found), [text.topic for text in wanted]
    assert figures.accuracy == pytest.approx(accuracy_score(topics, found))
    assert figures.macro_f == pytest.approx(f1_score(topics, found, average="macro"))


def test_no_texts_are_nothing_to_measure() -> None:
    """An error, not a zero."""
    with pytest.raises(ValueError, match="nothing to measure"):
        topic_figures([], [])


@pytest.mark.data
def test_the_evaluation_data_has_the_texts_it_says() -> None:
    """8,135 articles of MIND with a category, 10,000 of HuffPost, 32,604 of TagMyNews.

    Two of the last have no headline.
    """
    counts = {}
    for name in ("mind/train/news.tsv", "topics/huffpost.jsonl", "topics/tagmynews.tsv"):
        report = TopicReport()
        texts = read_topics(DATA / name, SPEC, report)
        held = sum(hold_out(text.id) for text in texts)
        counts[taxonomy_of(texts[0].topic)] = (len(texts), len({t.topic for t in texts}))
        assert held == pytest.approx(len(texts) / 10, rel=0.15)
        assert report.empty_texts == (2 if "tagmynews" in name else 0)
    assert counts == {"mind": (8_135, 15), "huffpost": (10_000, 29), "tagmynews": (32_602, 7)}
