"""Run card: what a page says of a run at each time of its life."""

import re
from pathlib import Path
from typing import Any

import pytest

from contract.mind import MindReport
from contract.search import SearchReport
from contract.topics import TopicReport
from training.config import Config, parse_config
from training.run_card import (
    SIZES,
    data_facts,
    different_settings,
    input_facts,
    run_card,
    short_path,
    without_paths,
)
from training.run_figures import RunFigures
from training.texts import HeadlineReport

FACTS: dict[str, Any] = {
    "state": "finished",
    "cause": None,
    "teacher": "models/minilm",
    "parameters": {"student": 1_234_567, "teacher": 7_654_321},
    "steps": {"text_distillation": 3329, "distillation": 543},
    "best": {"epoch": 2, "figure": "holdout_auc", "value": 0.70201},
    "data": {
        "train": {
            **data_facts(
                Path("somewhere/else/mind/train"), MindReport(articles=26_214, broken_entities=3)
            ),
            "clicks_learnt": 1_200,
        },
        "dev": data_facts(Path("mind/dev"), MindReport(articles=5, impressions=500)),
        "topics/a.jsonl": data_facts(Path("x/a.jsonl"), TopicReport(texts=1_234, empty_texts=2)),
        "texts/b.txt": data_facts(Path("x/b.txt"), HeadlineReport(texts=9, cut_headlines=1)),
        "search": data_facts(Path("search"), SearchReport(9, 7, queries_without_text=1)),
    },
    "data_sha256": {"train/news.tsv": "cd97f8414504dd090788ffccbd883d8e72a4"},
    "environment": {
        "python": "3.11.7",
        "processor": "x86_64",
        "packages": {"torch": "2.13.0"},
        "git": "abc123-dirty",
    },
    "inputs": {
        "train": "mind/train",
        "dev": "mind/dev",
        "topics": ["topics/a b.jsonl", "topics/c.tsv"],
    },
    "wall_time_s": 575.3,
    "started_at": "2026-01-02T03:04:05+00:00",
}
EPOCHS = [
    {"stage": "distillation", "step": 9, "epoch": 1, "holdout_auc": 0.69},
    {"stage": "distillation", "step": 18, "epoch": 2, "holdout_auc": 0.70201},
]
SETTINGS = parse_config({"run": {"seed": 7}, "random_teacher": {"layers": 3}})


def card(figures: RunFigures | None = None, config: Config = SETTINGS, **changes: object) -> str:
    """Write a card of the facts above, some of them changed."""
    facts = {**FACTS, **changes}
    return run_card("best-1", config, facts, EPOCHS, figures or RunFigures())


@pytest.mark.parametrize(
    "line",
    [
        "# Run best-1",
        "It finished. Wall time so far 0:09:35, started 2026-01-02T03:04:05+00:00.",
        "| student | 2 layers, 1,234,567 parameters |",
        "| teacher | models/minilm, 7,654,321 parameters |",
        "| seed | 7 |",
        "| text distillation | 3,329 steps |",
        "| best epoch | 2, holdout_auc 0.7020 |",
        "- train: `mind/train`, 26,214 articles, 0 impressions, 1,200 clicks learnt; "
        "3 broken entities",
        "- dev: `mind/dev`, 5 articles, 500 impressions; nothing odd",
        "- topics/a.jsonl: `x/a.jsonl`, 1,234 texts; 2 empty texts",
        "- texts/b.txt: `x/b.txt`, 9 texts; 1 cut headlines",
        "| `train/news.tsv` | `cd97f8414504` |",
        "| `run.seed` | 7 | 1 |",
        "| `random_teacher.layers` | 3 | none |",
        "| 1 | 0.6900 |",
        "| 2 (best) | 0.7020 |",
        "| commit | `abc123-dirty` |",
        "| torch | 2.13.0 |",
    ],
)
def test_the_card_says(line: str) -> None:
    """Each thing that a reader asks has its line."""
    assert line in card().splitlines()


def test_the_card_says_what_was_searched() -> None:
    """Under the folder's last two names, wherever it lies."""
    (line,) = (line for line in card().splitlines() if line.startswith("- search: "))
    assert line.endswith("/search`, 9 articles, 7 queries; 1 queries without text")


def test_the_sizes_of_a_card_are_those_of_the_reports() -> None:
    """Beside the clicks, which a run counts: what a report calls a size is never shown as odd."""
    reports = (MindReport, SearchReport, TopicReport, HeadlineReport)
    assert {size for report in reports for size in report.SIZES} == {*SIZES} - {"clicks_learnt"}


def test_the_card_says_how_to_repeat_and_resume() -> None:
    """Two commands, ready for a shell, from the settings that the run keeps."""
    flags = "--train mind/train --dev mind/dev --topics 'topics/a b.jsonl' --topics topics/c.tsv"
    start = f"newsbert train --config runs/best-1/config.toml {flags} --out runs/best-1"
    assert {f"{start}-again", f"{start} --resume"} <= {*card().splitlines()}


def test_no_epoch_is_the_best_where_nothing_is_held_out() -> None:
    """The last one ships; a table without figures is left out."""
    facts = {**FACTS, "best": {"epoch": 2, "figure": "holdout_auc", "value": None}}
    epochs = [{name: e[name] for name in ("stage", "step", "epoch")} for e in EPOCHS]
    lines = run_card("best-1", SETTINGS, facts, epochs, RunFigures()).splitlines()
    assert "Nothing is held out of the training data: the last epoch ships." in lines
    assert "| epoch that ships | the last, 2 |" in lines
    assert not [line for line in lines if "| epoch |" in line or "after each epoch" in line]
    assert not [line for line in lines if "best" in line and "best-1" not in line]


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("running", "It is running, or was killed and can be resumed."),
        ("stopped early", "It stopped early: the cause."),
        ("interrupted", "It was interrupted (the cause) and can be resumed."),
        ("failed", "**It failed: the cause**"),
    ],
)
def test_the_card_says_how_the_run_stands(state: str, sentence: str) -> None:
    """In the first sentence, with the cause where there is one."""
    assert card(state=state, cause="the cause").splitlines()[2].startswith(sentence)


def test_figures_have_their_intervals_where_the_units_are_known() -> None:
    """A mean with its 95 % interval; without units only the value."""
    values = {"student": {"auc": 0.5, "mrr": 0.3}, "teacher": {"auc": 0.6}}
    lines = card(RunFigures(values, {"student": {"auc": [0.0, 1.0] * 50}})).splitlines()
    assert "At the end, with 95 % bootstrap intervals:" in lines
    row = next(line for line in lines if line.startswith("| auc"))
    found = re.fullmatch(r"\| auc \| 0\.5000 \[0\.(\d{4}), 0\.(\d{4})\] \| 0\.6000 \|", row)
    assert found
    assert 3900 < int(found[1]) < 4200
    assert "| mrr | 0.3000 |  |" in lines
    assert "At the end:" in card(RunFigures(values))


def test_a_run_that_has_only_begun_has_a_card() -> None:
    """Nothing is known of it yet but its settings."""
    text = run_card("new", Config(), {}, [], RunFigures())
    assert "Nothing was measured yet." in text
    assert "## Settings that differ from the defaults\n\nNone." in text


def test_only_settings_that_differ_are_named() -> None:
    """With what they would be otherwise; tuples as lists."""
    assert different_settings(Config()) == []
    config = parse_config({"text": {"fields": ["title"]}, "distillation": {"epochs": 9}})
    assert different_settings(config) == [
        ("`text.fields`", "['title']", "['topic', 'subtopic', 'title']"),
        ("`distillation.epochs`", "9", "3"),
    ]


def test_local_paths_are_shortened_to_two_names(tmp_path: Path) -> None:
    """Inputs, the teacher's folder, and paths in messages; hub ids and URLs stay."""
    folder = tmp_path / "mind" / "train"
    folder.mkdir(parents=True)
    assert short_path(folder) == "mind/train"
    assert input_facts(
        {"train": folder, "teacher": str(folder), "topics": (folder / "a",), "search": None}
    ) == {"train": "mind/train", "teacher": "mind/train", "topics": ["train/a"]}
    assert input_facts({"teacher": "org/model"}) == {"teacher": "org/model"}
    assert without_paths(f"{folder}: no, see https://a.b/c/d, a/b/c") == (
        "mind/train: no, see https://a.b/c/d, a/b/c"
    )
    assert without_paths(f"'{folder}'") == "'mind/train'"


def test_a_bar_in_a_name_does_not_break_a_table() -> None:
    """It is escaped."""
    assert "| teacher | a\\|b, 7,654,321 parameters |" in card(teacher="a|b")
