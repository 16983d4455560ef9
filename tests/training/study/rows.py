"""Build evidence for tests of the page."""

from typing import Any

from training.study.evidence import Evidence, Row
from training.study.plan import TASKS, Goal
from training.study.sources import Sources


def a_row(name: str, **settings: Any) -> Row:
    """Build a finished main row of one seed from its units."""
    units = settings.pop("units", {})
    means = {figure: round(sum(values) / len(values), 6) for figure, values in units.items()}
    defaults: dict[str, Any] = {
        "title": f"the {name}",
        "table": "main",
        "against": None,
        "tasks": TASKS,
        "held_out": 0.0,
        "planned": 1,
        "figures": {"1": means} if units else {},
    }
    return Row(name=name, units=units, **{**defaults, **settings})


def evidence(*rows: Row, goals: tuple[Goal, ...] = (), **settings: Any) -> Evidence:
    """Build evidence of rows."""
    defaults: dict[str, Any] = {
        "budget_cpu_hours": 8,
        "spent_before": None,
        "cpu_s": {},
        "sources": Sources(),
        "references": {},
    }
    return Evidence(rows=rows, goals=goals, **{**defaults, **settings})
