"""Curves: the losses of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

NOT_LOSSES = {"stage", "step", "epoch", "news_per_s"}


def draw_curves(metrics: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw every recorded figure over the steps, one panel per stage."""
    # Matplotlib takes a second to import and is needed once.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(record["stage"] for record in metrics))
    figure = Figure(figsize=(7 * max(1, len(stages)), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for number, stage in enumerate(stages, start=1):
        axes = figure.add_subplot(1, len(stages), number)
        records = [record for record in metrics if record["stage"] == stage]
        for name in _names(records):
            points = [(r["step"], r[name]) for r in records if name in r]
            measured_once = "epoch" in next(r for r in records if name in r)
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if measured_once else "")
        axes.set(title=stage.replace("_", " "), xlabel="step")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _names(records: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(n for record in records for n in record if n not in NOT_LOSSES))
