"""The flywheel: readers read, what they click is exported and learnt from, and they read again."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import pytest

from contract.mind import MindFolder, read_folder
from tests.pipeline.simulation import ARTICLES, Seen, Simulation
from tests.serving import BUNDLE, Service, newsbert, serving

# A small student that learns from clicks alone, in seconds.
SETTINGS = """
tasks = {recommendation = 1.0, topics = 0.0}
text = {fields = ["topic", "subtopic", "title"], max_tokens = 16}
model = {student_layers = 1, dim = 64, query_width = 32}
random_teacher = {layers = 2, hidden = 64, heads = 4, vocabulary = 2000}
text_distillation = {passes = 0}
heads = {epochs = 1, rows_per_step = 32}
run = {seed = 1, threads = 1}

[distillation]
epochs = 3
rows_per_step = 32
momentum = 0.1
learning_rates = {encoder = 1e-3, pooling = 1e-3}
"""
READERS, ROUNDS = 200, 5
SEEDS = (1, 2, 3, 4, 5)
# Two-sided, 95 %, four degrees of freedom (Student, 1908).
T_OF_FIVE = 2.776


@dataclass(frozen=True)
class Outcome:
    """What one seed came to: clicks on ten articles, each in a list by reader.

    `first` is the first round, when nothing was known of anybody, and `again` a round with the
    model that was trained on all rounds before. `old` and `new` are what is expected of a page of
    either model at the end of those rounds: the readers and their histories are the same.
    """

    first: list[float]
    later: list[float]
    again: list[float]
    old: list[float]
    new: list[float]


def run_loop(seed: int, home: Path) -> Outcome:
    """Go round once: read, export, train, export the model, serve it, read again."""
    store = f"sqlite:///{home}/store.sqlite"
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
    simulation = Simulation(seed, READERS, start)
    with reading(BUNDLE, store, home) as service:
        for _ in range(ROUNDS):
            simulation.read(service)
        old = simulation.expected(service)
    with reading(retrained(simulation, store, home), store, home) as service:
        new = simulation.expected(service)
        again = simulation.read(service)
    first, *later = map(clicks, simulation.rounds[:ROUNDS])
    assert {seen.strategy for seen in simulation.rounds[0]} <= {"latest", "popular"}
    return Outcome(
        first, [mean(each) for each in zip(*later, strict=True)], clicks(again), old, new
    )


def clicks(seen: Sequence[Seen]) -> list[float]:
    """Return how many articles each reader clicked."""
    return [float(len(one.clicked)) for one in seen]


@contextmanager
def reading(bundle: Path, store: str, home: Path) -> Iterator[Service]:
    """Bring the articles to a bundle and serve it, with patience for histories."""
    newsbert("refresh", catalogue(home), "--bundle", bundle, "--store", store)
    with serving(bundle, store, home, history_timeout_s=5) as service:
        yield service


def catalogue(home: Path) -> Path:
    """Write the sample articles, published when the readers begin or before: always the same."""
    path = home / "articles.jsonl"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC)
        published = [now - timedelta(hours=article["age_hours"]) for article in ARTICLES]
        lines = (
            json.dumps(
                {k: v for k, v in article.items() if k != "age_hours"}
                | {"published_at": at.isoformat()}
            )
            for article, at in zip(ARTICLES, published, strict=True)
        )
        path.write_text("\n".join(lines))
    return path


def retrained(simulation: Simulation, store: str, home: Path) -> Path:
    """Train on all rounds but the last, measure on that, and return the new bundle."""
    last = simulation.begin(ROUNDS - 1).isoformat()
    for name, flag in (("train", "--until"), ("dev", "--since")):
        newsbert("feedback", "export", "--mind", home / name, flag, last, "--store", store)
    check(read_folder(home / "train"), [s for seen in simulation.rounds[:-1] for s in seen])
    check(read_folder(home / "dev"), simulation.rounds[-1])
    (home / "small.toml").write_text(SETTINGS)
    folders = ("--train", home / "train", "--dev", home / "dev")
    places = ("--cache", home / "cache", "--out", home / "run")
    newsbert("train", "--config", home / "small.toml", *folders, *places)
    newsbert(
        "export", home / "run", "--dev", home / "train", "--out", home / "bundle", "--scheme", "row"
    )
    return home / "bundle"


def check(folder: MindFolder, sent: Sequence[Seen]) -> None:
    """Hold what was exported to what the readers saw and did."""
    exported = {
        (
            one.id,
            one.time,
            one.history,
            one.candidates,
            frozenset(i for i, c in zip(one.candidates, one.clicks, strict=True) if c),
        )
        for one in folder.impressions
    }
    true = {(s.id, s.time.replace(tzinfo=None), s.history, s.articles, s.clicked) for s in sent}
    assert exported == true
    assert len(folder.impressions) == len(sent)
    # Of a reader all impressions have one pseudonym, and no other reader has it.
    readers = {one.id: one.reader for one in sent}
    pairs = {(readers[one.id], one.user_id) for one in folder.impressions}
    assert len(pairs) == len({user for _, user in pairs}) == len(set(readers.values()))
    assert not {user for _, user in pairs} & set(readers.values())
    assert folder.report.unknown_ids == 0


def least(differences: Sequence[float], t: float) -> float:
    """Return the lower end of the 95 % interval of a mean."""
    return mean(differences) - t * stdev(differences) / sqrt(len(differences))


def rises(before: Sequence[float], after: Sequence[float], t: float = 1.972) -> bool:
    """Say whether pairs rise beyond noise: the 95 % interval of the mean rise is above zero.

    Without `t` the pairs are those of 200 readers (Student's t, 199 degrees of freedom).
    """
    return least([b - a for a, b in zip(before, after, strict=True)], t) > 0


def test_a_rise_within_noise_is_none() -> None:
    """The test of the tests below can fail."""
    assert rises([1, 2, 3, 4, 5], [2, 3, 4.5, 5, 6], T_OF_FIVE)
    assert not rises([1, 2, 3, 4, 5], [0, 4, 3, 6, 4], T_OF_FIVE)
    assert not rises([1, 2, 3, 4, 5], [0, 1, 2, 3, 4.5], T_OF_FIVE)


def test_readers_click_more_as_they_are_known_and_more_on_what_was_learnt(tmp_path: Path) -> None:
    """One seed, pairs of readers: rounds with a history, and the model of their own clicks."""
    outcome = run_loop(SEEDS[0], tmp_path)
    assert rises(outcome.first, outcome.later)
    assert rises(outcome.first, outcome.again)
    assert rises(outcome.old, outcome.new)


@pytest.mark.slow
def test_every_turn_of_the_wheel_pays_over_five_seeds(tmp_path: Path) -> None:
    """Pairs of seeds, each with its own readers and tastes."""
    outcomes = [run_loop(seed, tmp_path / str(seed)) for seed in SEEDS]
    first, later, again, old, new = (
        [mean(getattr(outcome, name)) for outcome in outcomes]
        for name in ("first", "later", "again", "old", "new")
    )
    assert rises(first, later, T_OF_FIVE)
    assert rises(first, again, T_OF_FIVE)
    assert rises(old, new, T_OF_FIVE)
