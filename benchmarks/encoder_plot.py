"""The picture of an encoder run: articles a second of every leg, drawn from the result alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.encoder_goals import SPEED
from benchmarks.encoder_legs import YARDSTICK

COLOURS = {"ours": "#1b6ca8", "runner": "#7fb3d5", "student": "#e08e45", "teacher": "#9a9a9a"}
NAMES = {
    "ours": "this project",
    "runner": "this project's graph elsewhere",
    "student": "others, same weights",
    "teacher": "the teacher",
}
GOALS = (12, 24)
SIZE, DOTS = (9, 5), 120


def draw(result: Mapping[str, Any], families: Mapping[str, str], target: Path) -> Path:
    """Draw one thread's medians and extremes as bars; hatched is what fails a gate."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch
    from matplotlib.ticker import StrMethodFormatter

    legs = result["threads_1"]["legs"]
    names = sorted(legs, key=lambda name: legs[name][SPEED]["median"])
    figure, axes = plt.subplots(figsize=SIZE, dpi=DOTS, layout="constrained")
    for place, name in enumerate(names):
        speed, passes = legs[name][SPEED], result["answers"][name]["passes"]
        whiskers = [[speed["median"] - speed["min"]], [speed["max"] - speed["median"]]]
        colour, hatch = COLOURS[families[name]], "" if passes else "///"
        axes.barh(place, speed["median"], color=colour, hatch=hatch, edgecolor="white")
        axes.errorbar(speed["median"], place, xerr=whiskers, color="black", capsize=2)
        axes.text(speed["max"] * 1.05, place, f"{speed['median']:,.0f}", va="center", fontsize=8)
    if YARDSTICK in legs:
        for times in GOALS:
            at = times * legs[YARDSTICK][SPEED]["median"]
            axes.axvline(at, color="black", linewidth=0.8, linestyle=":")
            top = axes.get_xaxis_transform()
            axes.text(at, 1.01, f"{times}x", ha="center", fontsize=8, transform=top)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlim(right=2 * max(one[SPEED]["max"] for one in legs.values()))
    axes.set_xlabel("articles a second on one thread, tokenising included (hatched: fails a gate)")
    shown = [family for family in NAMES if family in {families[name] for name in names}]
    patches = [Patch(color=COLOURS[family], label=NAMES[family]) for family in shown]
    axes.legend(handles=patches, loc="lower right", fontsize=8)
    # No version and no date: the same figures give the same file.
    figure.savefig(target, metadata={"Software": None})
    plt.close(figure)
    return target
