"""Topics: texts whose topic is known, by taxonomy, and how well a topic head finds it.

A topic's full name is "taxonomy/topic", split at the first slash. A text is classified among the
topics of its own taxonomy, and neither topic nor subtopic is ever part of what is classified.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from contract.article import Article, Vectors
from contract.intervals import Rows, Values, bootstrap, limits
from contract.lines import (
    MalformedFile,
    Report,
    first_problem,
    iter_lines,
    parse_object,
    split_columns,
    text_of,
)
from contract.mind import read_news
from contract.text import TextSpec, canonical, fingerprint

MIND = "mind"
# Macro-F is the mean over topics with at least so many measured texts (paper, section 4.1).
MIN_TEXTS = 20

RECORD_KEYS = {"title": "headline", "abstract": "short_description", "topic": "category"}
COLUMN_KEYS = {"title": "headline", "topic": "topic"}

Classify: TypeAlias = Callable[[Sequence[str]], Vectors]
Record: TypeAlias = tuple[int, dict[str, str]]


class UnknownTaxonomy(ValueError):
    """A model has no topics of the taxonomy that it is asked about."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text without its topic, and the topic's full name; the id decides what is held out."""

    id: str
    text: str
    topic: str


@dataclass(slots=True)
class TopicReport(Report):
    """How often each tolerated oddity was met; `texts` are what is left without the first two."""

    SIZES = ("texts",)

    texts: int = 0
    blank_topics: int = 0
    empty_texts: int = 0
    empty_descriptions: int = 0


@dataclass(frozen=True, slots=True)
class TopicFigures:
    """Accuracy over all texts; macro-F is None where no topic has `MIN_TEXTS` texts."""

    accuracy: float
    macro_f: float | None
    texts: int


def full_name(taxonomy: str, topic: str) -> str:
    """Join a taxonomy and a topic."""
    return f"{taxonomy}/{topic}"


def taxonomy_of(name: str) -> str:
    """Return the taxonomy of a topic's full name."""
    return normalised([name])[0].partition("/")[0]


def normalised(names: Iterable[str]) -> list[str]:
    """Give each name its taxonomy: bare ones are MIND's, as bundles had them before taxonomies."""
    return [name if "/" in name else full_name(MIND, name) for name in names]


def taxonomies(names: Iterable[str]) -> list[str]:
    """Return the taxonomies of topic names, each once, in their order."""
    return list(dict.fromkeys(taxonomy_of(name) for name in names))


def read_topics(
    path: Path, spec: TextSpec, report: TopicReport | None = None, *, taxonomy: str = ""
) -> list[LabelledText]:
    """Read labelled texts from a MIND `news.tsv`, a `.jsonl` or a two-column `.tsv`.

    The taxonomy of a file is its stem unless another is given, that of `news.tsv` is "mind". What
    is malformed raises a MalformedFile; blank topics and empty texts are counted and left out.
    """
    if path.name == "news.tsv":
        return labelled_articles(read_news(path), spec, report)
    counts = report if report is not None else TopicReport()
    return labelled_articles(_articles(path, counts), spec, counts, taxonomy=taxonomy or path.stem)


def labelled_articles(
    articles: Iterable[Article],
    spec: TextSpec,
    report: TopicReport | None = None,
    *,
    taxonomy: str = MIND,
) -> list[LabelledText]:
    """Return the texts of the articles that have a topic and a text."""
    counts = report if report is not None else TopicReport()
    texts: list[LabelledText] = []
    for article in articles:
        text = spec.topic_text(article)
        counts.blank_topics += not article.topic
        counts.empty_texts += not text
        if article.topic and text:
            texts.append(LabelledText(article.id, text, full_name(taxonomy, article.topic)))
    counts.texts += len(texts)
    return texts


def predict_topics(
    classify: Classify, texts: Sequence[LabelledText], topics: Sequence[str], taxonomy: str
) -> list[str]:
    """Return the likeliest topic of each text among those of the taxonomy, by full name.

    `classify` turns N texts into logits (N, L) in the order of the L `topics`.
    """
    names = normalised(topics)
    columns = [i for i, name in enumerate(names) if taxonomy_of(name) == taxonomy]
    if not columns:
        known = ", ".join(taxonomies(names)) or "none"
        raise UnknownTaxonomy(f"the model has no topics of {taxonomy!r}; it knows {known}")
    best = classify([text.text for text in texts])[:, columns].argmax(axis=1)  # (N,)
    return [names[columns[i]] for i in best]


def topic_figures(texts: Sequence[LabelledText], found: Sequence[str]) -> TopicFigures:
    """Measure the topics that were found; a topic that no model knows is never found."""
    wanted, guessed, counted = _numbered(texts, found)
    macro_f = _macro_f(wanted, guessed, counted, np.arange(len(texts))[None, :])[0]
    return TopicFigures(
        accuracy=float((wanted == guessed).mean()),
        macro_f=float(macro_f) if len(counted) else None,
        texts=len(texts),
    )


def topic_hits(texts: Sequence[LabelledText], found: Sequence[str]) -> list[float]:
    """Return 1 for each text whose topic was found and 0 for the others."""
    return [float(text.topic == name) for text, name in zip(texts, found, strict=True)]


def macro_f_limits(
    texts: Sequence[LabelledText], found: Sequence[str]
) -> tuple[float, float] | None:
    """Return the 95 % interval of macro-F over texts, its topics those of all texts."""
    wanted, guessed, counted = _numbered(texts, found)
    if not len(counted):
        return None
    return limits(bootstrap(len(texts), lambda rows: _macro_f(wanted, guessed, counted, rows)))


def _numbered(
    texts: Sequence[LabelledText], found: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    if not texts:
        raise ValueError("no text with a topic: nothing to measure")
    wanted = [text.topic for text in texts]
    names, numbers = np.unique([*wanted, *found], return_inverse=True)
    counts = np.bincount(numbers[: len(wanted)], minlength=len(names))
    return numbers[: len(wanted)], numbers[len(wanted) :], np.flatnonzero(counts >= MIN_TEXTS)


def _macro_f(
    wanted: NDArray[np.intp], guessed: NDArray[np.intp], counted: NDArray[np.intp], rows: Rows
) -> Values:
    """Average F over the counted topics for each draw of rows: (B, N) -> (B,)."""
    total = np.zeros(len(rows))
    for topic in counted:
        is_wanted, is_guessed = (wanted == topic)[rows], (guessed == topic)[rows]  # (B, N)
        both = (is_wanted & is_guessed).sum(axis=1)
        either = is_wanted.sum(axis=1) + is_guessed.sum(axis=1)
        total += np.divide(2 * both, either, out=np.zeros(len(rows)), where=either > 0)
    return total / max(1, len(counted))


def _articles(path: Path, report: TopicReport) -> Iterator[Article]:
    seen = set[str]()
    records = _json_records(path, report) if path.suffix == ".jsonl" else _tsv_records(path)
    for number, record in records:
        if record["id"] and record["id"] in seen:
            raise MalformedFile(path, number, "id", f"{record['id']!r} occurs twice")
        seen.add(record["id"])
        yield _article(path, number, record)


def _json_records(path: Path, report: TopicReport) -> Iterator[Record]:
    for number, raw in iter_lines(path):
        record = parse_object(path, number, raw)
        fields = {
            field: text_of(path, number, record, key, required=field in COLUMN_KEYS)
            for field, key in RECORD_KEYS.items()
        }
        report.empty_descriptions += not fields["abstract"]
        yield number, {**fields, "id": text_of(path, number, record, "id")}


def _tsv_records(path: Path) -> Iterator[Record]:
    for number, raw in iter_lines(path):
        headline, topic = split_columns(path, number, raw, (*COLUMN_KEYS.values(),))
        yield number, {"id": "", "title": headline, "topic": topic}


def _article(path: Path, number: int, record: dict[str, str]) -> Article:
    # By the headline alone: it is part of every text, so one text is never on both sides, and what
    # is held out does not depend on how much of the description a model sees.
    identity = record["id"] or fingerprint(canonical(record["title"] or record.get("abstract", "")))
    try:
        return Article.model_validate({**record, "id": identity})
    except ValidationError as error:
        field, problem = first_problem(error)
        keys = RECORD_KEYS if path.suffix == ".jsonl" else COLUMN_KEYS
        raise MalformedFile(path, number, keys.get(field, field), problem) from error
