"""Evidence: what the page is built from, gathered from the runs' files, small enough to commit."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.figures import FIGURES, FiguresError, read_figures
from contract.intervals import pooled
from training.errors import StudyError
from training.study.ledger import Ledger
from training.study.plan import TASKS, Baseline, Goal, Line, Spent, Study, Task
from training.study.sources import Sources, sources_of
from training.study.steps import Step, TrainingStep, steps_of

DIGITS = 4
Figures = dict[str, float]  # "auc", "topics/mind", "topics/mind/macro_f", "search/recall10" …
Units = dict[str, list[float]]  # the same names: one value per impression, text or query


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Kept):
    """Hold a row's figures by seed, and its values per unit, averaged over the seeds."""

    name: str
    title: str
    table: Literal["main", "baseline", "ablation"]
    against: str | None
    tasks: tuple[Task, ...]  # that it is measured on
    held_out: float | None  # of the training impressions, to choose the epoch; None: not trained
    planned: int
    figures: dict[str, Figures]
    units: Units

    def mean(self, figure: str) -> float | None:
        """Return a figure's mean over the seeds that were run, or None where none measured it."""
        values = [figures[figure] for figures in self.figures.values() if figure in figures]
        return fmean(values) if values else None


class Evidence(_Kept):
    """Hold all that the page says, so that it can be rebuilt without the runs."""

    budget_cpu_hours: float
    spent_before: Spent | None
    cpu_s: dict[str, float]
    sources: Sources
    references: dict[Task, tuple[str, ...]]
    goals: tuple[Goal, ...]
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """Return a row by name."""
        return next(row for row in self.rows if row.name == name)

    def of(self, table: str) -> list[Row]:
        """Return the rows of one table."""
        return [row for row in self.rows if row.table == table]


def gather(study: Study, directory: Path) -> Evidence:
    """Read the finished runs of a study; figures that do not belong together raise StudyError.

    A run that was made with other settings than the study now has counts as not run.
    """
    steps = steps_of(study)
    finished = [s for s in steps if s.state(directory) == "finished"]
    rows = [
        _row(row, [s for s in finished if s.row == row.name], study, directory)
        for row in study.rows.values()
    ]
    _check_same_units(rows)
    return Evidence(
        budget_cpu_hours=study.budget_cpu_hours,
        spent_before=study.spent_before,
        cpu_s=_cpu_by_row(steps, directory),
        sources=sources_of(finished, directory),
        references=study.references,
        goals=study.goal,
        rows=tuple(rows),
    )


def read_evidence(path: Path) -> Evidence:
    """Read what `to_json` wrote."""
    try:
        return Evidence.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StudyError(f"{path.name}: {error}") from error


def to_json(evidence: Evidence) -> str:
    """Write one line for each row, so that a change is seen where it is."""
    content = evidence.model_dump(mode="json")
    parts = [f"{json.dumps(key)}: {_compact(content[key])}" for key in content if key != "rows"]
    rows = ",\n".join(_compact(row) for row in content["rows"])
    return "{\n" + ",\n".join([*parts, f'"rows": [\n{rows}\n]']) + "\n}\n"


def _row(row: Line | Baseline, finished: Sequence[Step], study: Study, directory: Path) -> Row:
    model = row.model if isinstance(row, Line) else None
    found = [_read(directory / step.name / FIGURES, model=model) for step in finished]
    units = [units for _, units in found]
    known = {"name": row.name, "title": row.title}
    if isinstance(row, Line):
        config = study.configuration(row, row.seeds[0])
        seeds = [str(step.seed) for step in finished if isinstance(step, TrainingStep)]
        return Row(
            **known,
            table="ablation" if row in study.ablation else "main",
            against=row.base if row in study.ablation else None,
            tasks=tuple(task for task in TASKS if getattr(config.tasks, task) > 0),
            held_out=config.run.holdout_share,
            planned=len(row.seeds),
            figures=dict(zip(seeds, (figures for figures, _ in found), strict=True)),
            units=_averaged(units, row.name),
        )
    figures: Figures = dict(ChainMap(*(figures for figures, _ in found)))
    return Row(
        **known,
        table="baseline",
        against=None,
        tasks=row.tasks,
        held_out=None,
        planned=1,
        figures={"-": figures} if figures else {},
        units=dict(ChainMap(*units)),
    )


def _read(path: Path, *, model: str | None) -> tuple[Figures, Units]:
    """Return a model's figures and units; without a name, those of the only model."""
    where = f"{path.parent.name}/{path.name}"
    try:
        content = read_figures(path)
        name = model or next(iter(content.models))
        figures, units = _flat(content.models[name]), content.units[name]
    except (FiguresError, KeyError, StopIteration, AttributeError) as error:
        raise StudyError(f"{where}: not the figures of a {model or 'model'} ({error!r})") from error
    for unit, values in units.items():
        if unit in figures and abs(fmean(values) - figures[unit]) > 10**-DIGITS:
            raise StudyError(f"{where}: {unit} is not the mean of its {len(values)} values")
    return figures, units


def _flat(tasks: Mapping[str, Any]) -> Figures:
    """Name every figure by one word, as the units are named."""
    flat: dict[str, float | None] = dict(tasks.get("recommendation", {}))
    for taxonomy, figures in tasks.get("topics", {}).items():
        flat |= {f"topics/{taxonomy}/{name}": value for name, value in figures.items()}
        flat[f"topics/{taxonomy}"] = flat.pop(f"topics/{taxonomy}/accuracy")
    flat |= {f"search/{name}": value for name, value in tasks.get("search", {}).items()}
    # Too few texts of any topic give no macro-F.
    return {name: round(value, 6) for name, value in flat.items() if value is not None}


def _averaged(runs: Sequence[Units], row: str) -> Units:
    names = sorted(set().union(*runs)) if runs else []
    try:
        values = {name: pooled([run[name] for run in runs]) for name in names}
    except (KeyError, ValueError) as error:
        raise StudyError(f"{row}: its seeds were measured on different units ({error})") from error
    return {name: [round(float(one), DIGITS) for one in each] for name, each in values.items()}


def _check_same_units(rows: Iterable[Row]) -> None:
    """Refuse to pair values that do not belong to the same impressions, texts or queries."""
    counted: dict[str, tuple[str, int]] = {}
    for row in rows:
        for name, values in row.units.items():
            other, count = counted.setdefault(name, (row.name, len(values)))
            if count != len(values):
                text = f"{name}: {other} has {count} values and {row.name} {len(values)}"
                raise StudyError(f"{text}; they were measured on different data")


def _cpu_by_row(steps: Iterable[Step], directory: Path) -> dict[str, float]:
    rows = {step.name: step.row for step in steps}
    totals: dict[str, float] = {}
    for step, seconds in Ledger(directory / "ledger.jsonl").cpu_s().items():
        row = rows.get(step, "no longer planned")
        totals[row] = round(totals.get(row, 0.0) + seconds, 1)
    return totals


def _compact(value: object) -> str:
    return json.dumps(_shortened(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _shortened(value: object) -> object:
    """Write 1.0 as 1: most values per text are 0 or 1."""
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
