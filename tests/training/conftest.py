"""Tiny models and folders: width 16, two layers, a few dozen invented articles."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.article import Article, Impression
from contract.mind import write_folder
from tests.tiny import WORDS, tiny_data
from training.config import Config, HeadConfig, TaskWeights, parse_config
from training.distill import TrainingData
from training.material import Inputs
from training.model import Architecture, TeacherStudent, build_backbone, pair_with_teacher
from training.pipeline import train_student
from training.progress import ProgressDisplay

TOPICS = ("sports", "politics", "film")

InputsWith = Callable[[Path], Inputs]
TrainAll = Callable[[Config, str], Path]


class SilentProgress:
    """Show nothing, remember the notes; stop the run at a step if told to."""

    def __init__(self, *, stop: tuple[str, int] | None = None) -> None:
        self.notes: list[str] = []
        self._stop = stop
        self._stage = ""

    def start(self, stage: str, *, steps: int, done: int) -> None:
        """Remember the stage."""
        self._stage = stage

    def step(self, done: int, *, loss: float, news_per_s: float, examples_per_s: float) -> None:
        """Die where a test wants it."""
        if (self._stage, done) == self._stop:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        """Remember a line."""
        self.notes.append(text)

    def close(self) -> None:
        """Need nothing."""


@pytest.fixture(autouse=True)
def one_seeded_thread() -> None:
    """Make every tensor computation repeatable."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def architecture() -> Architecture:
    """Describe a BERT of two layers of width 16."""
    return Architecture(
        family="bert",
        layers=2,
        hidden=16,
        heads=2,
        intermediate=32,
        vocabulary=50,
        positions=40,
        token_types=2,
        activation="gelu",
        layer_norm_eps=1e-12,
        pad_id=0,
        dropout=0.0,
        dim=8,
        query_width=4,
        topics=4,
    )


@pytest.fixture
def make_pair(architecture: Architecture) -> Callable[..., TeacherStudent]:
    """Return a function that builds a teacher and its student."""

    def make(
        *, teacher_layers: int = 4, student_layers: int = 2, family: str = "bert"
    ) -> TeacherStudent:
        shape = replace(architecture, layers=teacher_layers, family=family)
        return pair_with_teacher(shape, build_backbone(shape), student_layers=student_layers)

    return make


@pytest.fixture(scope="session")
def config() -> Config:
    """Return the settings of a run of a few steps."""
    return parse_config(
        {
            "text": {"max_tokens": 12},
            "model": {"student_layers": 1, "dim": 8, "query_width": 4},
            "random_teacher": {"layers": 2, "hidden": 16, "heads": 2, "vocabulary": 80},
            "text_distillation": {"passes": 1, "texts_per_step": 16},
            "distillation": {"epochs": 2, "rows_per_step": 8, "topic_texts_per_step": 4},
            "run": {"threads": 1, "save_every_steps": 2},
        }
    )


@pytest.fixture(scope="session")
def mind_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 30 articles of three topics and 30 impressions by readers of one topic each."""
    random = np.random.default_rng(3)
    articles = [
        Article(
            id=f"N{n}",
            title=" ".join(random.choice(WORDS, size=4)),
            topic=TOPICS[n % 3],
            subtopic="any",
        )
        for n in range(30)
    ]
    impressions = [_impression(n, random) for n in range(30)]
    folder = tmp_path_factory.mktemp("data") / "mind"
    write_folder(folder, articles, impressions)
    return folder


def _impression(number: int, random: np.random.Generator) -> Impression:
    liked = [f"N{n}" for n in range(number % 3, 30, 3)]
    others = [f"N{n}" for n in range(30) if n % 3 != number % 3]
    click, *history = random.choice(liked, size=4, replace=False).tolist()
    shown = (click, *random.choice(others, size=4, replace=False).tolist())
    return Impression(
        str(number), f"U{number}", None, tuple(history), shown, (True, False, False, False, False)
    )


@pytest.fixture(scope="session")
def silent() -> ProgressDisplay:
    """Return a progress display for nobody."""
    return SilentProgress()


@pytest.fixture
def stopping() -> Callable[[str, int], ProgressDisplay]:
    """Return a function that makes a display which kills its run at a stage and step."""
    return lambda stage, step: SilentProgress(stop=(stage, step))


@pytest.fixture(scope="session")
def data() -> TrainingData:
    """Return rows of all three tasks over one table of texts."""
    return tiny_data()


@pytest.fixture(scope="session")
def topic_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 40 headlines of two topics, the taxonomy `papers`."""
    random = np.random.default_rng(4)
    lines = [
        json.dumps(
            {
                "headline": f"{' '.join(random.choice(WORDS, size=3))} {n}",
                "short_description": " ".join(random.choice(WORDS, size=5)),
                "category": ("sports", "weather")[n % 2],
            }
        )
        for n in range(40)
    ]
    path = tmp_path_factory.mktemp("topics") / "papers.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def search_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 12 articles, 8 queries to learn from and 4 to measure."""
    random = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("search")
    with gzip.open(folder / "news.jsonl.gz", "wt") as file:
        for n in range(12):
            title, abstract = (" ".join(random.choice(WORDS, size=k)) for k in (4, 6))
            file.write(json.dumps({"id": f"D{n}", "title": title, "abstract": abstract}) + "\n")
    queries = [f"Q{n}\t{WORDS[n % 11]} {WORDS[n % 7]}\tD{n} D{(n + 1) % 12}\n" for n in range(12)]
    (folder / "train.tsv").write_text("".join(queries[:8]))
    (folder / "dev.tsv").write_text("".join(queries[8:]))
    return folder


@pytest.fixture(scope="session")
def inputs_with(mind_folder: Path, topic_file: Path, search_folder: Path) -> InputsWith:
    """Return a function that names a folder for both purposes, a taxonomy of its own and search."""
    return lambda cache: Inputs(
        mind_folder, mind_folder, cache, topic_files=(topic_file,), search=search_folder
    )


@pytest.fixture
def inputs(inputs_with: InputsWith, tmp_path: Path) -> Inputs:
    """Name all inputs, and a cache of the test's own."""
    return inputs_with(tmp_path / "cache")


@pytest.fixture(scope="session")
def train_all(
    tmp_path_factory: pytest.TempPathFactory, inputs_with: InputsWith, silent: ProgressDisplay
) -> TrainAll:
    """Return a function that trains on all inputs in `name`, with the cache beside it."""

    def train(config: Config, name: str) -> Path:
        folder = tmp_path_factory.mktemp("runs")
        inputs = inputs_with(folder / "cache")
        train_student(config, inputs, folder / name, resume=False, progress=silent)
        return folder / name

    return train


@pytest.fixture(scope="session")
def everything(config: Config) -> Config:
    """Switch on every stage, every task and every loss."""
    return replace(
        config,
        tasks=TaskWeights(1.0, 1.0, 1.0),
        heads=HeadConfig(epochs=1),
        text_distillation=replace(config.text_distillation, contrastive_weight=0.1),
        distillation=replace(config.distillation, kept_share=0.5),
    )


@pytest.fixture(scope="session")
def whole(train_all: TrainAll, everything: Config) -> Path:
    """Train everything once, on the CPU and without interruption; tests spoil copies alone."""
    return train_all(everything, "whole")
