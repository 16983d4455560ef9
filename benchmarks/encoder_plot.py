"""The picture of an encoder run: articles a second of every leg, drawn from the result alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.encoder_goals import SPEED, TO_YARDSTICK
from benchmarks.encoder_legs import YARDSTICK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"ours": "#1b6ca8", "runner": "#7fb3d5", "student": "#e08e45", "teacher": "#9a9a9a"}
NAMES = {
    "ours": "this project",
    "runner": "this project's graph elsewhere",
    "student": "others, same weights",
    "teacher": "the teacher",
}
HATCHES = {True: "", False: "///", None: "..."}
LABEL = (
    "articles a second on one thread, tokenising included "
    "(hatched: fails a gate; dotted: not compared with its weights)"
)
SIZE, DOTS = (9, 5), 120


def draw(result: Mapping[str, Any], families: Mapping[str, str], target: Path) -> Path:
    """Write the picture of a result's figures as PNG."""
    # No version and no date: the same figures give the same file.
    picture(result, families).savefig(target, metadata={"Software": None})
    return target


def picture(result: Mapping[str, Any], families: Mapping[str, str]) -> "Figure":
    """Draw one thread's medians and extremes as bars, the slowest lowest, and what was asked."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import StrMethodFormatter

    legs = result["threads_1"]["legs"]
    names = sorted(legs, key=lambda name: legs[name][SPEED]["median"])
    figure = Figure(figsize=SIZE, dpi=DOTS, layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(names):
        hatch = HATCHES[result["answers"][name]["passes"]]
        _add_bar(axes, place, legs[name][SPEED], colour=COLOURS[families[name]], hatch=hatch)
    if YARDSTICK in legs:
        _add_goals(axes, result["goals"], legs[YARDSTICK][SPEED]["median"])
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlim(right=2 * max(one[SPEED]["max"] for one in legs.values()))
    axes.set_xlabel(LABEL, fontsize=8)
    shown = [family for family in NAMES if family in {families[name] for name in names}]
    patches = [Patch(color=COLOURS[family], label=NAMES[family]) for family in shown]
    axes.legend(handles=patches, loc="lower right", fontsize=8)
    return figure


def _add_bar(
    axes: "Axes", place: int, speed: Mapping[str, float], *, colour: str, hatch: str
) -> None:
    middle = speed["median"]
    whiskers = [[middle - speed["min"]], [speed["max"] - middle]]
    axes.barh(place, middle, color=colour, hatch=hatch, edgecolor="white")
    axes.errorbar(middle, place, xerr=whiskers, color="black", capsize=2)
    axes.text(speed["max"] * 1.05, place, f"{middle:,.0f}", va="center", fontsize=8)


def _add_goals(axes: "Axes", goals: Mapping[str, Mapping[str, Any]], yardstick: float) -> None:
    top = axes.get_xaxis_transform()
    for times in (goals[name]["goal"] for name in TO_YARDSTICK):
        at = times * yardstick
        axes.axvline(at, color="black", linewidth=0.8, linestyle=":")
        axes.text(at, 1.01, f"{times}x", ha="center", fontsize=8, transform=top)
