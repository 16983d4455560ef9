"""Run comparison: which settings and data differ between runs, and what that did to the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from contract.intervals import paired_interval
from training.runs import RunRecord


@dataclass(frozen=True)
class Difference:
    """Hold how far a figure lies from the first run's; the 95 % interval where units are paired."""

    difference: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Hold runs side by side: by setting, file and figure, one value per run in their order."""

    runs: tuple[str, ...]
    settings: Mapping[str, list[Any]]
    data: Mapping[str, list[str | None]]
    figures: Mapping[str, list[float | None]]
    differences: Mapping[str, list[Difference | None]]  # to the first run, whose own is None

    def as_dict(self) -> dict[str, Any]:
        """Return what can be written as JSON."""
        return asdict(self)


def compare(runs: Sequence[RunRecord], *, model: str) -> Comparison:
    """Compare runs with the first of them by the figures of `student` or `teacher`."""
    figures = [run.figures.of(model) for run in runs]
    names = list(dict.fromkeys(name for found in figures for name in found))
    return Comparison(
        runs=tuple(run.name for run in runs),
        settings=_differing([run.settings for run in runs]),
        data=_differing([run.facts.get("data_sha256", {}) for run in runs]),
        figures={name: [found.get(name) for found in figures] for name in names},
        differences={
            name: [None, *(_difference(run, runs[0], model, name) for run in runs[1:])]
            for name in names
        },
    )


def _difference(ours: RunRecord, theirs: RunRecord, model: str, name: str) -> Difference | None:
    value, reference = (run.figures.of(model).get(name) for run in (ours, theirs))
    if value is None or reference is None:
        return None
    units, others = (run.figures.units_of(model, name) for run in (ours, theirs))
    if not units or len(units) != len(others) or not _same_data(ours, theirs):
        return Difference(value - reference)
    paired = paired_interval(units, others)
    return Difference(paired.difference, paired.low, paired.high)


def _same_data(ours: RunRecord, theirs: RunRecord) -> bool:
    """Tell whether no file that both read differs: only then is unit i of both the same unit."""
    first, second = (run.facts.get("data_sha256", {}) for run in (ours, theirs))
    return all(first[name] == second[name] for name in first.keys() & second.keys())


def _differing(tables: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name) for table in tables] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}
