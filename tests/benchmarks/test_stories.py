"""Copies and look-alikes are what they are called, and thresholds are judged by both."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks import stories as bench
from benchmarks.results import FOLDER
from contract.article import Article
from service.settings import Settings
from tests.builders import a_bundle

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ARTICLE = Article(id="N1", title="Rates rise: banks cheer", abstract="One two three four five.")


def test_what_ships_was_measured() -> None:
    """The result file is of the threshold and the window that the service has."""
    settings = json.loads((FOLDER / "stories.json").read_text("utf-8"))["settings"]
    assert settings["same_story"] == Settings.model_fields["same_story"].default
    assert settings["window_s"] == 3_600 * Settings.model_fields["same_story_h"].default


@pytest.mark.parametrize("name", bench.EDITS)
def test_an_edit_changes_the_text_and_repeats_itself(name: str) -> None:
    """Seeded: the same copy again, with the same id, and never the article itself."""
    copies = [bench.EDITS[name](ARTICLE, np.random.default_rng(1)) for _ in range(2)]
    assert copies[0] == copies[1]
    assert copies[0].id == ARTICLE.id
    assert (copies[0].title, copies[0].abstract) != (ARTICLE.title, ARTICLE.abstract)


@pytest.mark.parametrize(
    ("title", "reworded"),
    [("Rates rise: banks cheer", "banks cheer, Rates rise"), ("Rates rise", "rise"), ("Up", "Up")],
)
def test_clauses_change_places(title: str, reworded: str) -> None:
    """Where there is but one clause its first word goes; a single word stays."""
    article = ARTICLE.model_copy(update={"title": title})
    assert bench.reworded(article, np.random.default_rng(0)).title == reworded


def test_half_of_the_words_are_cut() -> None:
    """The first half stays, a middle word with it."""
    assert bench.cut(ARTICLE, np.random.default_rng(0)).abstract == "One two three"


def test_a_look_alike_is_of_another_time_and_text() -> None:
    """Nearer ones of the same days, of the same words or without a time are passed over."""
    vectors = np.array([[1, 0], [0.99, 0.14], [1, 0], [0.9, 0.44], [0.95, 0.3]], np.float32)
    far = 2 * bench.WINDOW_S
    times, texts = np.array([0, far / 4, far, far, np.nan]), np.array([0, 1, 0, 3, 4])
    found = bench.nearest_of_another_time(vectors, times, texts, np.array([0, 4]))
    assert found == pytest.approx([0.9, -1.0])


def test_a_threshold_is_judged_by_what_it_joins() -> None:
    """By hand: at 0.9 nine of ten copies and one of two look-alikes are joined."""
    copies = np.full((2, len(bench.EDITS)), 0.95)
    copies[1, 0] = 0.5
    found = bench.Pairs(copies, np.array([0.93, 0.6]))
    row = bench.at(found, 0.9)
    assert row["recall"][0] == pytest.approx(0.9)
    assert row["look_alikes_joined"][0] == pytest.approx(0.5)
    assert row["precision"][0] == pytest.approx(1.8 / 2.8, abs=1e-4)
    assert row["by_edit"] == dict.fromkeys(bench.EDITS, 1.0) | {"reworded": 0.5}
    assert bench.at(found, 0.99)["precision"][0] == 1.0


def test_the_lowest_precise_threshold_is_so_by_its_interval() -> None:
    """The lower end has to reach 95 %, not the figure itself."""
    rows = [
        {"threshold": 0.9, "precision": [0.96, 0.94, 0.98]},
        {"threshold": 0.91, "precision": [0.97, 0.95, 0.99]},
        {"threshold": 0.92, "precision": [0.98, 0.96, 1.0]},
    ]
    assert bench.lowest_precise(rows) == 0.91
    assert bench.lowest_precise(rows[:1]) is None


def test_pairs_have_a_copy_by_every_edit(tmp_path: Path) -> None:
    """Articles without anything of another time are left out."""
    bundle = a_bundle(tmp_path / "tiny", dim=16)
    days = (0, 1, 30)
    articles = [
        Article(id=f"N{n}", title=f"word{n} more", published_at=NOW + timedelta(days=day))
        for n, day in enumerate(days)
    ]
    assert bench.pairs(bundle, articles, 3).same.shape == (3, len(bench.EDITS))
    assert bench.pairs(bundle, articles[:2], 2).same.shape == (0, len(bench.EDITS))
