"""Measure predictions on the paper's three tasks, whoever makes them: one code path.

A predictor says what it would show, call or find; what that is worth is worked out here alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from contract.article import Vectors
from contract.evaluation import Encoder, rank_impressions
from contract.held_out import hold_out
from contract.intervals import interval
from contract.mind import MindFolder, read_folder
from contract.ranking import impression_values, mean_values
from contract.scoring import ClickModel
from contract.search import SearchFolder, nearest, query_values, read_search, search_figures
from contract.text import TextSpec
from contract.topics import (
    LabelledText,
    TopicReport,
    macro_f_limits,
    predict_topics,
    read_topics,
    taxonomy_of,
    topic_figures,
    topic_hits,
)

T = TypeVar("T")
Limits: TypeAlias = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class TopicTexts:
    """The labelled texts of one taxonomy: those to learn from and those to measure on."""

    learn: list[LabelledText]
    measure: list[LabelledText]


@dataclass(frozen=True)
class EvaluationData:
    """What there is to measure on; what is absent is not measured. Texts are by taxonomy."""

    impressions: MindFolder | None = None
    texts: Mapping[str, TopicTexts] = field(default_factory=dict)
    search: SearchFolder | None = None
    oddities: Sequence[str] = ()


@dataclass(frozen=True)
class Predictor:
    """What can be asked for predictions; a task that it does not do is None.

    `rank` scores the candidates of each impression, (C,) each; `classify` names the topic of each
    text of one taxonomy; `find` returns the ids of the ten best articles for each query of `dev`.
    """

    spec: TextSpec
    rank: Callable[[MindFolder], Sequence[Vectors]] | None = None
    classify: Callable[[str, TopicTexts], Sequence[str]] | None = None
    find: Callable[[SearchFolder], Sequence[Sequence[str]]] | None = None


@dataclass(frozen=True)
class TaskFigures:
    """Figures by name, the values per unit that they are means of, and their 95 % intervals.

    Intervals are worked out when they are asked for.
    """

    figures: dict[str, float | int | None]
    units: dict[str, list[float]]
    limits: dict[str, Callable[[], Limits]]

    def intervals(self) -> dict[str, Limits]:
        """Return (low, high) of each figure that has units; None where there is no figure."""
        return {name: limits() for name, limits in self.limits.items()}


# By "recommendation", "topics/<taxonomy>" and "search".
Measured: TypeAlias = dict[str, TaskFigures]


class TextModel(Encoder, Protocol):
    """An encoder with a topic head, be it torch or ONNX."""

    def topic_logits(self, texts: Sequence[str]) -> Vectors:
        """Classify texts that must not hold their own topic: (N,) -> (N, topics)."""
        ...


def model_predictor(
    encoder: TextModel, click_model: ClickModel, spec: TextSpec, topics: Sequence[str]
) -> Predictor:
    """Let a trained model answer all three tasks; `topics` are in the order of its logits."""

    def classify(taxonomy: str, texts: TopicTexts) -> list[str]:
        return predict_topics(encoder.topic_logits, texts.measure, topics, taxonomy)

    def find(folder: SearchFolder) -> list[list[str]]:
        # The query encoder is the news encoder; a query is encoded as it was typed.
        return nearest(
            encoder.vectors([query.text for query in folder.dev]),
            encoder.vectors([spec.text(article) for article in folder.articles]),
            [article.id for article in folder.articles],
        )

    return Predictor(
        spec, lambda f: rank_impressions(f, encoder, click_model, spec), classify, find
    )


def read_data(
    spec: TextSpec,
    *,
    impressions: Path | None = None,
    topics: Sequence[tuple[str, Path]] = (),
    search: Path | None = None,
    all_texts: bool = False,
) -> EvaluationData:
    """Read a MIND folder, files of labelled texts as (taxonomy or "", path), a search folder.

    A tenth of the labelled texts, by hash of their ids, is measured on, its topics never learnt;
    with `all_texts` all of them are measured on.
    """
    report = TopicReport()
    texts = [t for name, path in topics for t in read_topics(path, spec, report, taxonomy=name)]
    folder = read_folder(impressions) if impressions else None
    found = read_search(search) if search else None
    oddities = [*report.lines()]
    oddities += folder.report.lines() if folder else []
    oddities += found.report.lines() if found else []
    return EvaluationData(folder, split_topics(texts, all_texts=all_texts), found, oddities)


def split_topics(
    texts: Sequence[LabelledText], *, all_texts: bool = False
) -> dict[str, TopicTexts]:
    """Sort texts by taxonomy and into those to learn from and those held out."""
    split: dict[str, TopicTexts] = {}
    for text in texts:
        of_taxonomy = split.setdefault(taxonomy_of(text.topic), TopicTexts([], []))
        measured = all_texts or hold_out(text.id)
        (of_taxonomy.measure if measured else of_taxonomy.learn).append(text)
    return split


def measure(predictor: Predictor, data: EvaluationData) -> Measured:
    """Measure whatever the data is there for; a task that the predictor lacks is an error."""
    measured: Measured = {}
    if data.impressions is not None:
        rank = _can(predictor.rank, "recommendation")
        measured["recommendation"] = measure_ranking(data.impressions, rank(data.impressions))
    for taxonomy, texts in data.texts.items():
        classify = _can(predictor.classify, "topics")
        found = classify(taxonomy, texts) if texts.measure else []
        measured[f"topics/{taxonomy}"] = measure_topics(texts.measure, found)
    if data.search is not None:
        find = _can(predictor.find, "search")
        measured["search"] = measure_search(data.search, find(data.search))
    return measured


def measure_ranking(folder: MindFolder, scores: Sequence[Vectors]) -> TaskFigures:
    """Return MIND's metrics for scores of each impression's candidates."""
    shown = [one.clicks for one in folder.impressions]
    values = impression_values(zip(scores, shown, strict=True))
    return TaskFigures(asdict(mean_values(values)), values, _means(values))


def measure_topics(texts: Sequence[LabelledText], found: Sequence[str]) -> TaskFigures:
    """Return accuracy and macro-F for the topics found."""
    figures = topic_figures(texts, found)
    values = {"accuracy": topic_hits(texts, found)}
    limits = _means(values) | {"macro_f": partial(macro_f_limits, texts, found)}
    return TaskFigures(asdict(figures), values, limits)


def measure_search(folder: SearchFolder, found: Sequence[Sequence[str]]) -> TaskFigures:
    """Return recall, nDCG and MRR at 10 for the articles found for each query of `dev`."""
    figures = search_figures(folder.dev, found)
    values = query_values(folder.dev, found)
    return TaskFigures(asdict(figures), values, _means(values))


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, Callable[[], Limits]]:
    return {name: partial(_mean_limits, units) for name, units in values.items()}


def _mean_limits(units: Sequence[float]) -> Limits:
    _, low, high = interval(units)
    return low, high


def _can(ability: T | None, task: str) -> T:
    if ability is None:
        raise ValueError(f"{task} is not among the tasks of this predictor")
    return ability
