"""The whole way, by the commands as they are typed: sample clicks, checkpoint, bundle, readers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import open_bundle
from contract.figures import read_figures
from contract.mind import read_news
from tests.serving import ROOT, Service, ids_of, newsbert, serving

SAMPLES = ROOT / "samples"
MIND = SAMPLES / "mind"
# A student of one layer that learns all three tasks in a dozen steps.
SETTINGS = """
tasks = {recommendation = 1.0, topics = 1.0, search = 1.0}
model = {student_layers = 1, dim = 32, query_width = 8}
random_teacher = {layers = 2, hidden = 32, heads = 2, vocabulary = 800}
text_distillation = {passes = 1, texts_per_step = 256}
heads = {epochs = 1, rows_per_step = 256}
run = {threads = 1}

[distillation]
epochs = 1
rows_per_step = 256
topic_texts_per_step = 64
queries_per_step = 16
learning_rates = {encoder = 1e-3, pooling = 1e-3}
"""
QUERIES = 20


@dataclass(frozen=True)
class Made:
    """Hold what the stages left: a search folder, a run and its bundle."""

    search: Path
    run: Path
    bundle: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Train on the samples and export what came out."""
    home = tmp_path_factory.mktemp("pipeline")
    made = Made(write_search(home / "search"), home / "run", home / "bundle")
    (home / "tiny.toml").write_text(SETTINGS)
    inputs = ("--train", MIND / "train", "--dev", MIND / "dev", "--search", made.search)
    places = ("--cache", home / "cache", "--out", made.run)
    newsbert("train", "--config", home / "tiny.toml", *inputs, *places)
    newsbert("export", made.run, "--dev", MIND / "dev", "--out", made.bundle)
    return made


def write_search(folder: Path) -> Path:
    """Ask for some sample articles by the first words of their abstracts."""
    folder.mkdir()
    articles = read_news(MIND / "train" / "news.tsv")
    records = ({"id": a.id, "title": a.title, "abstract": a.abstract} for a in articles)
    (folder / "news.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    asked = [f"Q{a.id}\t{' '.join(a.abstract.split()[:6])}\t{a.id}\n" for a in articles]
    (folder / "train.tsv").write_text("".join(asked[QUERIES : 3 * QUERIES]))
    (folder / "dev.tsv").write_text("".join(asked[:QUERIES]))
    return folder


@pytest.mark.parametrize(
    ("task", "of", "figure", "count"),
    [
        ("recommendation", ("recommendation",), "auc", {"impressions": 340}),
        ("topics", ("topics", "mind"), "accuracy", {"texts": 47}),
        ("search", ("search",), "recall10", {"queries": QUERIES}),
    ],
)
def test_the_bundle_does_every_task_as_well_as_the_run_says(
    made: Made, task: str, of: tuple[str, ...], figure: str, count: dict[str, int]
) -> None:
    """What was measured in training, within what smaller numbers may cost."""
    measured: Any = read_figures(made.run).models["student"]
    for name in of:
        measured = measured[name]
    flags = ("--task", task, "--json", *data_of(task, made))
    found = json.loads(newsbert("evaluate", made.bundle, *flags).stdout)
    found = found.get("mind", found)
    assert count.items() <= found.items()
    assert found[figure] == pytest.approx(measured[figure], abs=0.05)


def data_of(task: str, made: Made) -> tuple[object, ...]:
    """Return the flag that names a task's data."""
    return ("--search", made.search) if task == "search" else ("--mind", MIND / "dev")


@pytest.fixture
def service(made: Made, tmp_path: Path) -> Iterator[Service]:
    """Serve the bundle and the sample articles."""
    store = f"sqlite:///{tmp_path}/store.sqlite"
    newsbert("refresh", SAMPLES / "articles.jsonl", "--bundle", made.bundle, "--store", store)
    with serving(made.bundle, store, tmp_path) as running:
        yield running


def test_readers_are_recommended_articles_by_the_new_model(made: Made, service: Service) -> None:
    """Ten that they have not read, by what they have read."""
    lists = []
    for history in (["S0001", "S0002"], ["S0003"]):
        # To a student of a few seconds most articles tell one story.
        body = {"history": history, "n": 10, "collapse": False}
        answer = service.client.post("/v1/recommendations", json=body)
        lists.append(ids_of(answer))
        assert answer.json()["model"] == open_bundle(made.bundle).model
        assert (answer.json()["strategy"], answer.json()["degraded"]) == ("personal", [])
        assert len(set(lists[-1]) - set(history)) == 10
    assert lists[0] != lists[1]
