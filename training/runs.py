"""Runs: what the directories of training runs say, read without torch and whatever their state."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.errors import RunUnreadable
from training.run_card import flat_settings
from training.run_figures import MODELS, RunFigures, read_run_figures
from training.run_lock import NAME as LOCK
from training.run_lock import is_locked

MARKS = ("config.toml", "run.json", "metrics.jsonl", LOCK)


@dataclass(frozen=True)
class RunRecord:
    """Hold what a run directory says: run.json, config.toml, the last metrics, figures.json."""

    name: str
    state: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    last: Mapping[str, Any]
    figures: RunFigures


@dataclass(frozen=True)
class RunSummary:
    """Hold a line of the list of runs; a broken run has a reason and little else."""

    name: str
    state: str
    reason: str = ""
    config: str = ""
    stage: str = ""
    steps_done: int = 0
    steps: int | None = None
    best_epoch: int | None = None
    held_out: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)  # the student's on `dev`
    wall_time_s: float | None = None


def list_runs(directory: Path) -> list[RunSummary]:
    """Summarise every run in a directory, in its sub-directories, or the run that it is itself."""
    return [summarise(path, name) for name, path in _found(directory)]


def summarise(path: Path, name: str = "") -> RunSummary:
    """Summarise a run; one that cannot be read is broken and says why."""
    name = name or path.name
    try:
        return _summary(read_run(path, name))
    except RunUnreadable as error:
        return RunSummary(name, "broken", reason=str(error))


def read_run(path: Path, name: str = "") -> RunRecord:
    """Read a run directory; RunUnreadable names the file that is missing or half-written."""
    facts = _table(path, "run.json", json.loads)
    settings = flat_settings(_table(path, "config.toml", tomllib.loads))
    figures = read_run_figures(path, facts)
    return RunRecord(name or path.name, _state(path, facts), facts, settings, _last(path), figures)


def _summary(run: RunRecord) -> RunSummary:
    try:
        best = run.facts.get("best") or _best_of_older_run(run.facts)
        stage = run.last.get("stage", "")
        return RunSummary(
            name=run.name,
            state=run.state,
            reason=str(run.facts.get("cause") or ""),
            config=str(run.facts.get("name", run.name)),
            stage=stage,
            steps_done=int(run.last.get("step", 0)),
            steps=run.facts.get("steps", {}).get(stage),
            best_epoch=best.get("epoch"),
            held_out=best.get("value"),
            figures=run.figures.of(MODELS[0]),
            wall_time_s=float(run.facts.get("wall_time_s", 0.0)),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise RunUnreadable(f"run.json: {error}") from error


def _found(directory: Path) -> Iterator[tuple[str, Path]]:
    if _is_run(directory):
        yield directory.resolve().name, directory
        return
    for path in sorted(path for path in directory.iterdir() if path.is_dir()):
        if _is_run(path):
            yield path.name, path
        else:
            inside = sorted(run for run in path.iterdir() if run.is_dir() and _is_run(run))
            yield from ((f"{path.name}/{run.name}", run) for run in inside)


def _is_run(path: Path) -> bool:
    # A run that has only just begun has its lock; a cache beside the runs has none of these.
    return any((path / name).exists() for name in MARKS)


def _state(path: Path, facts: Mapping[str, Any]) -> str:
    # Runs of older versions recorded no state, only their figures at the end.
    state = str(facts.get("state") or ("finished" if "metrics" in facts else "running"))
    return "interrupted" if state == "running" and not is_locked(path) else state


def _best_of_older_run(facts: Mapping[str, Any]) -> dict[str, Any]:
    metrics = facts.get("metrics", {})
    return {"epoch": metrics.get("best_epoch"), "value": metrics.get("holdout_auc")}


def _table(path: Path, name: str, parse: Any) -> dict[str, Any]:  # noqa: ANN401  (a parser)
    try:
        content = parse((path / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunUnreadable(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise RunUnreadable(f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise RunUnreadable(f"{name}: not a table")
    return content


def _last(path: Path) -> dict[str, Any]:
    """Return the last whole line of metrics.jsonl; whoever writes may be in the middle of one."""
    file = path / "metrics.jsonl"
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    except (OSError, ValueError) as error:
        raise RunUnreadable(f"metrics.jsonl: {error}") from error
    for number in range(len(lines), max(0, len(lines) - 2), -1):
        try:
            record = json.loads(lines[number - 1])
        except ValueError:
            continue
        if isinstance(record, dict):
            return record
    if lines:
        raise RunUnreadable(f"metrics.jsonl, line {len(lines)}: not JSON")
    return {}
