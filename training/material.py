"""Material: everything a run reads, split into what it learns from and what it is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.article import Impression
from contract.held_out import hold_out
from contract.mind import MindFolder, read_folder
from contract.search import NEWS, SearchFolder, read_search
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from contract.topics import (
    LabelledText,
    TopicReport,
    labelled_articles,
    read_topics,
    taxonomies,
    taxonomy_of,
)
from training.batches import QueryRow, TaskRows, TopicTexts
from training.click_log import ClickLog, read_click_log
from training.click_log_rows import ClickRows, click_rows
from training.config import Config
from training.distill import TrainingData
from training.errors import ConfigError, DataError
from training.texts import HeadlineReport, headline_report
from training.token_table import TokenTable


@dataclass(frozen=True)
class Inputs:
    """Name everything a run reads; `cache` keeps what runs can share."""

    train: Path
    dev: Path
    cache: Path
    teacher: str | None = None
    teacher_run: Path | None = None
    topic_files: tuple[Path, ...] = ()
    text_files: tuple[Path, ...] = ()
    search: Path | None = None
    config_name: str = ""

    def files(self) -> dict[str, Path]:
        """Return every data file under the name it has in the run."""
        folders = (("train", self.train), ("dev", self.dev))
        files = {
            f"{name}/{file}": folder / file
            for name, folder in folders
            for file in ("news.tsv", "behaviors.tsv")
        }
        files |= {f"topics/{path.name}": path for path in self.topic_files}
        files |= {f"texts/{path.name}": path for path in self.text_files}
        if self.search is not None:
            found = (self.search / name for name in (*NEWS, "train.tsv", "dev.tsv"))
            files |= {f"search/{path.name}": path for path in found if path.exists()}
        return files


@dataclass(frozen=True)
class Material:
    """Hold what was read: folders, labelled texts, queries, and what of it is held out.

    `topics` are full names in the order of the logits; `labelled` is all labelled texts, and
    `topic_reports` tell what was odd in each file that they were read from. Of unlabelled texts
    there are reports alone: they are read when they are learnt from.
    """

    train: ClickLog
    dev: MindFolder
    holdout: MindFolder
    clicks: ClickRows
    topics: list[str]
    labelled: list[LabelledText]
    topic_reports: Mapping[Path, TopicReport]
    text_reports: Mapping[Path, HeadlineReport]
    search: SearchFolder | None


def read_material(inputs: Inputs, config: Config) -> Material:
    """Read what the tasks need; the epoch is chosen on impressions of train, not on dev."""
    spec = TextSpec.model_validate(vars(config.text))
    train, dev = read_click_log(inputs.train), read_folder(inputs.dev)
    held = np.fromiter((hold_out(i, config.run.holdout_share) for i in train.ids()), np.bool_)
    clicks = click_rows(train, history=config.text.history, kept=~held)
    holdout = MindFolder(train.articles, train.impressions(np.flatnonzero(held)))
    known = {article.id for article in train.articles}
    too_few = not clicks or (held.any() and not _can_be_ranked(holdout.impressions, known))
    if config.tasks.recommendation and too_few:
        raise DataError(f"{inputs.train.name}: too few impressions with both a click and a skip")
    news = inputs.train / "news.tsv"
    reports = {path: TopicReport() for path in (news, *inputs.topic_files)}
    labelled = [
        *labelled_articles(train.articles, spec, reports[news]),
        *(t for path in inputs.topic_files for t in read_topics(path, spec, reports[path])),
    ]
    topics = sorted({text.topic for text in labelled})
    _check_topics(topics, config)
    return Material(
        train=train,
        dev=dev,
        holdout=holdout,
        clicks=clicks,
        topics=topics,
        labelled=labelled,
        topic_reports=reports,
        text_reports={path: headline_report(path) for path in inputs.text_files},
        search=_search(inputs, config),
    )


def training_data(
    material: Material, spec: TextSpec, tokenizer: TextTokenizer, config: Config
) -> TrainingData:
    """Tokenise every distinct text that a task learns from, and number its rows in one table."""
    texts = _Texts([spec.text(article) for article in material.train.articles])
    tasks = config.tasks
    rows = TaskRows(
        clicks=material.clicks if tasks.recommendation else [],
        topics=_topic_texts(material, texts, learnt=bool(tasks.topics)),
        queries=_query_rows(material, spec, texts) if tasks.search else [],
    )
    return TrainingData(TokenTable(texts.all, tokenizer), rows)


class _Texts:
    """Number texts: articles by their place in the folder, then what else is read, each once."""

    def __init__(self, articles: Sequence[str]) -> None:
        self.all = list(articles)
        self._rows = {text: row for row, text in enumerate(articles)}

    def row(self, text: str) -> int:
        """Return a text's row in the token table."""
        if text not in self._rows:
            self._rows[text] = len(self.all)
            self.all.append(text)
        return self._rows[text]


def _topic_texts(material: Material, texts: _Texts, *, learnt: bool) -> TopicTexts:
    taxonomies = [taxonomy_of(topic) for topic in material.topics]
    known = sorted(set(taxonomies))
    numbers = {topic: number for number, topic in enumerate(material.topics)}
    chosen = [text for text in material.labelled if learnt and not hold_out(text.id)]
    return TopicTexts(
        rows=np.asarray([texts.row(text.text) for text in chosen], np.int64),
        numbers=np.asarray([numbers[text.topic] for text in chosen], np.int64),
        taxonomies=np.asarray([known.index(taxonomy_of(t.topic)) for t in chosen], np.int64),
        members=np.asarray([[t == name for t in taxonomies] for name in known], bool),
    )


def _query_rows(material: Material, spec: TextSpec, texts: _Texts) -> list[QueryRow]:
    if material.search is None:
        return []
    answers = {article.id: spec.text(article) for article in material.search.articles}
    return [
        QueryRow(texts.row(query.text), tuple(texts.row(answers[i]) for i in query.relevant))
        for query in material.search.train
    ]


def _check_topics(topics: Sequence[str], config: Config) -> None:
    if config.tasks.topics and not topics:
        raise DataError("tasks.topics is on, but no article and no --topics file has a topic")
    known, texts = taxonomies(topics), config.distillation.topic_texts_per_step
    # Beside clicks every taxonomy has an equal share of a step's texts: `batches` draws them so.
    if config.tasks.topics and config.tasks.recommendation and texts < len(known):
        raise ConfigError(
            f"distillation.topic_texts_per_step = {texts} is below the {len(known)} taxonomies "
            f"({', '.join(known)}): some would never be learnt"
        )


def _search(inputs: Inputs, config: Config) -> SearchFolder | None:
    if inputs.search is None:
        if config.tasks.search:
            raise ConfigError("tasks.search is on, but no --search folder is given")
        return None
    folder = read_search(inputs.search)
    if config.tasks.search and not folder.train:
        raise DataError(f"{inputs.search.name}: tasks.search is on, but train.tsv has no query")
    return folder


def _can_be_ranked(impressions: Sequence[Impression], known: Set[str]) -> bool:
    shown = (zip(i.candidates, i.clicks, strict=True) for i in impressions)
    return any(len({clicked for i, clicked in pairs if i in known}) == 2 for pairs in shown)
