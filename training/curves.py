"""Curves: the losses, held-out figures and learning rate of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Record = dict[str, Any]
NOT_LOSSES = {"stage", "step", "epoch", "news_per_s", "examples_per_s", "learning_rate"}
HEIGHTS = {"loss": 3, "held out": 1.4, "learning rate": 1}


def draw_curves(metrics: Sequence[Record], path: Path) -> None:
    """Draw a column per stage: losses, and what was held out and the learning rate if recorded."""
    # Matplotlib takes a second to import and is needed once.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(record["stage"] for record in metrics))
    if not stages:
        return
    figure = Figure(figsize=(7.5 * len(stages), 8), layout="constrained")
    FigureCanvasAgg(figure)
    for part, stage in zip(
        figure.subfigures(1, len(stages), squeeze=False)[0], stages, strict=True
    ):
        _draw_stage(part, stage, [record for record in metrics if record["stage"] == stage])
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_bytes(path, picture.getvalue())


def _draw_stage(part: SubFigure, stage: str, records: Sequence[Record]) -> None:
    steps = [record for record in records if "epoch" not in record]
    epochs = [record for record in records if "epoch" in record and _names([record])]
    present = {"loss": steps, "held out": epochs}
    present["learning rate"] = [record for record in steps if "learning_rate" in record]
    panels = {name: found for name, found in present.items() if found}
    if not panels:
        return
    heights = [HEIGHTS[name] for name in panels]
    column = part.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, found) in zip(column, panels.items(), strict=True):
        _DRAW[name](axes, found)
        axes.set_ylabel(name)
        axes.grid(alpha=0.25)
    column[0].set_title(stage.replace("_", " "))
    column[-1].set_xlabel("step")
    part.align_ylabels(column)


def _draw_losses(axes: Axes, records: Sequence[Record]) -> None:
    values: list[float] = []
    for number, name in enumerate(_names(records)):
        steps, losses = _points(records, name)
        # There are ten colours; the next ten curves are dashed.
        style = "-" if number < 10 else "--"
        (line,) = axes.plot(*_smoothed(steps, losses), style, label=name, linewidth=1.6)
        axes.plot(steps, losses, color=line.get_color(), alpha=0.18, linewidth=0.7)
        values += losses
    if min(values) > 0:
        # Hidden losses are a hundredth of click losses: both are to be seen.
        axes.set_yscale("log")
    _legend_beside(axes)


def _draw_held_out(axes: Axes, records: Sequence[Record]) -> None:
    for name in _names(records):
        axes.plot(*_points(records, name), label=name, marker="o")
    _legend_beside(axes)


def _draw_learning_rate(axes: Axes, records: Sequence[Record]) -> None:
    axes.plot(*_points(records, "learning_rate"), color="black", linewidth=1.2)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))


_DRAW = {"loss": _draw_losses, "held out": _draw_held_out, "learning rate": _draw_learning_rate}


def _legend_beside(axes: Axes) -> None:
    # Outside, because inside it would hide a curve sooner or later.
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)


def _points(records: Sequence[Record], name: str) -> tuple[list[int], list[float]]:
    found = [record for record in records if name in record]
    return [record["step"] for record in found], [record[name] for record in found]


def _smoothed(steps: list[int], values: list[float]) -> tuple[list[float], list[float]]:
    """Return the running mean over a fiftieth of the steps, where all of it lies inside."""
    width = max(1, len(values) // 50)
    kernel = np.full(width, 1 / width)
    return (
        np.convolve(steps, kernel, mode="valid").tolist(),
        np.convolve(values, kernel, mode="valid").tolist(),
    )


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(n for record in records for n in record if n not in NOT_LOSSES))
