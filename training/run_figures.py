"""Run figures: what figures.json says of a run, flat by name, with the units behind each figure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.figures import FIGURES, FiguresError, read_figures
from training.errors import RunUnreadable

MODELS = ("student", "teacher")
COUNTS = {"impressions", "texts", "queries"}


@dataclass(frozen=True)
class RunFigures:
    """Hold values by model and figure, and one value per impression, text or query likewise.

    Figures are named `auc`, `ndcg10`, `topics/mind` (accuracy), `topics/mind/macro_f`,
    `search/recall10` and so on.
    """

    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)

    def of(self, model: str) -> dict[str, float]:
        """Return a model's figures; none if it was not measured."""
        return dict(self.values.get(model, {}))

    def units_of(self, model: str, figure: str) -> list[float]:
        """Return the values that a figure is the mean of; none if they were not kept."""
        return list(self.units.get(model, {}).get(figure, []))


def read_run_figures(directory: Path, facts: Mapping[str, Any]) -> RunFigures:
    """Read figures.json, or what run.json says of a run that has none."""
    try:
        if not (directory / FIGURES).exists():
            return RunFigures(_from_facts(facts.get("metrics", {})))
        found = read_figures(directory)
        return RunFigures({m: _flat(tasks) for m, tasks in found.models.items()}, found.units)
    except FiguresError as error:
        raise RunUnreadable(str(error).removeprefix(f"{directory}{os.sep}")) from error
    except (TypeError, AttributeError) as error:
        raise RunUnreadable(f"{FIGURES}: {type(error).__name__}: {error}") from error


def _flat(tasks: Mapping[str, Any]) -> dict[str, float]:
    found = _numbers(tasks.get("recommendation", {}))
    for taxonomy, figures in tasks.get("topics", {}).items():
        named = _numbers(figures, f"topics/{taxonomy}/")
        found |= {name.removesuffix("/accuracy"): value for name, value in named.items()}
    return found | _numbers(tasks.get("search", {}), "search/")


def _from_facts(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {model: _numbers(metrics[model]) for model in MODELS if model in metrics}


def _numbers(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    return {
        f"{prefix}{name}": float(value)
        for name, value in figures.items()
        if name not in COUNTS and isinstance(value, int | float)
    }
