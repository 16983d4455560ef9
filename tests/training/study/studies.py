"""Build small studies, and the figures of runs, for tests."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.study.plan import Study, read_study
from training.study.steps import Inputs, Step, settings_file, steps_of

INPUTS = Inputs(Path("data"), "minilm")
BASE = "[model]\nstudent_layers = 2\ndropout = 0.2\n[distillation]\nmomentum = 0.15\n"
STUDY = """
budget_cpu_hours = 8
[data]
train = "mind/train"
dev = "mind/dev"
search = "search"
topics = ["topics/a.jsonl", "topics/b.tsv"]
texts = ["topics/c.txt"]
[references]
recommendation = ["teacher"]
[[main]]
name = "student"
title = "the student"
base = "base.toml"
seeds = [1, 2, 3]
[[main]]
name = "teacher"
title = "the teacher"
base = "student"
seeds = [1, 2]
changes = { model = { student_layers = 6 } }
[[ablation]]
name = "minus-joint"
title = "minus joint learning"
base = "student"
teacher_run = "teacher"
[[ablation]]
name = "minus-momentum"
title = "minus momentum"
base = "student"
changes = { distillation = { momentum = 0.0 } }
[[baseline]]
name = "bm25"
title = "BM25"
what = "bm25"
tasks = ["search"]
"""
# The same with one line that is run once.
ONE_LINE = STUDY.partition('[[main]]\nname = "teacher"')[0].replace("[1, 2, 3]", "[1]")
ONE_LINE = ONE_LINE.replace('["teacher"]', "[]")


def study_file(folder: Path, text: str = STUDY, base: str = BASE) -> Path:
    """Write a table of experiments and its base configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.toml").write_text(base, "utf-8")
    path = folder / "study.toml"
    path.write_text(text, "utf-8")
    return path


def a_study(folder: Path, text: str = STUDY, base: str = BASE) -> Study:
    """Read the small study."""
    return read_study(study_file(folder, text, base))


def step_named(study: Study, name: str) -> Step:
    """Return a step of a study."""
    return next(step for step in steps_of(study) if step.name == name)


def figures(units: Mapping[str, list[float]], model: str = "student") -> dict[str, Any]:
    """Build a figures.json whose figures are the means of the units."""
    means = {name: sum(values) / len(values) for name, values in units.items()}
    split = {name.partition("/")[::2]: value for name, value in means.items()}
    models: dict[str, Any] = {
        "recommendation": {n: v for (n, rest), v in split.items() if not rest},
        "topics": {
            rest: {"accuracy": v, "macro_f": v / 2, "texts": len(units[f"topics/{rest}"])}
            for (n, rest), v in split.items()
            if n == "topics"
        },
        "search": {rest: v for (n, rest), v in split.items() if n == "search"},
    }
    return {
        "line": "x",
        "seed": 1,
        "models": {model: models},
        "units": {model: dict(units)},
    }


def finish(
    study: Study,
    directory: Path,
    name: str,
    content: object,
    **run: Any,
) -> Path:
    """Make a step's directory look finished, with these figures."""
    step = step_named(study, name)
    folder = directory / name
    folder.mkdir(parents=True, exist_ok=True)
    settings_file(directory, step).write_text(step.settings(), "utf-8")
    (folder / "config.toml").write_text(step.settings(), "utf-8")
    (folder / "figures.json").write_text(json.dumps(content), "utf-8")
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    return folder


def settings(folder: Path) -> dict[str, Any]:
    """Read the configuration that a run was given."""
    return tomllib.loads((folder / "config.toml").read_text("utf-8"))
