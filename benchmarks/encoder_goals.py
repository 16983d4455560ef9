"""The figures of a run: every leg's speed and ratios, and which goals they reach."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.ceiling import macs_per_text
from benchmarks.comparison import DIGITS, Spread, ratios
from benchmarks.encoder_legs import OURS, YARDSTICK, Leg
from benchmarks.encoder_rounds import Answers, Round
from training.model import Architecture

SPEED, CPU_SPEED, PEAK = "articles_per_s", "articles_per_cpu_s", "peak_mb"
# How many times the yardstick's speed a leg should reach.
TO_YARDSTICK = {
    "two_layers_to_sentence_transformers": (OURS, 12),
    "one_layer_to_sentence_transformers": ("ours-1", 24),
}
PASSES = {True: "", False: "   fails a gate", None: "   not compared with its weights"}
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound, what was reached, and whether that keeps it; None where it was not measured."""

    goal: float
    reached: float | None
    met: bool | None
    note: str = ""

    @classmethod
    def at_least(cls, goal: float, reached: float | None, note: str = "") -> "Goal":
        """Bound from below."""
        return cls(goal, reached, None if reached is None else reached >= goal, note)

    @classmethod
    def at_most(cls, goal: float, reached: float | None, note: str = "") -> "Goal":
        """Bound from above."""
        return cls(goal, reached, None if reached is None else reached <= goal, note)


def speeds_of(rounds: Sequence[Round]) -> Figures:
    """Summarise the legs that ran in every round, beside the yardstick and beside ours."""
    names = [name for name in rounds[0] if all(name in one for one in rounds)]
    flat = [{name: one[name][SPEED] for name in names} for one in rounds]
    legs = {name: leg_figures(name, rounds, flat) for name in names}
    figures: Figures = {"legs": legs}
    if OURS in names:
        figures["student_articles_per_s"] = legs[OURS][SPEED]
    if YARDSTICK in names:
        figures["teacher_articles_per_s"] = legs[YARDSTICK][SPEED]
    if {OURS, YARDSTICK} <= {*names}:
        figures["ratio"] = legs[OURS]["to_sentence_transformers"]
    return figures


def leg_figures(name: str, rounds: Sequence[Round], flat: Sequence[Mapping[str, float]]) -> Figures:
    """Return one leg's speeds, its ratio to the yardstick and that of ours to it."""
    figures: Figures = {
        SPEED: Spread.of([one[name] for one in flat]).as_dict(),
        CPU_SPEED: Spread.of([one[name][CPU_SPEED] for one in rounds]).as_dict(),
        PEAK: max(one[name][PEAK] for one in rounds),
    }
    if YARDSTICK in flat[0]:
        ratio = Spread.of(ratios(flat, name, YARDSTICK))
        figures["to_sentence_transformers"] = ratio.as_dict()
    if OURS in flat[0]:
        figures["ours_to_it"] = Spread.of(ratios(flat, OURS, name)).as_dict()
    return figures


def ceiling_shares(
    legs: Mapping[str, Figures], architecture: Architecture, ceiling: Figures, tokens: float
) -> Figures:
    """Return ours beside the machine's int8 multiplication: shares, and microseconds a text."""
    shares = {}
    for name in legs:
        if not name.startswith("ours-"):
            continue
        macs = macs_per_text(
            tokens,
            layers=int(name.removeprefix("ours-")),
            hidden=architecture.hidden,
            intermediate=architecture.intermediate,
            query_width=architecture.query_width,
        )
        speed = legs[name][CPU_SPEED]["median"]
        at_ceiling = ceiling["gmacs_per_s"] * 1e9 / macs
        shares[name] = {
            "mmacs_per_text": round(macs / 1e6, 1),
            "us_per_text": round(1e6 / speed, 1),
            "us_per_text_at_the_ceiling": round(1e6 / at_ceiling, 1),
            "share": round(speed / at_ceiling, DIGITS),
        }
    return shares


def best_peer(
    legs: Mapping[str, Figures], lined: Sequence[Leg], answers: Mapping[str, Answers]
) -> str | None:
    """Return the fastest public leg on our weights whose answers pass both gates."""
    eligible = [
        leg.name
        for leg in lined
        if leg.family == "student" and leg.name in legs and answers[leg.name].passes
    ]
    return max(eligible, key=lambda name: legs[name][SPEED]["median"], default=None)


def goals(
    figures: Figures, lined: Sequence[Leg], answers: Mapping[str, Answers], sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Set what was reached against the goals; ratios count for graphs that pass the gates."""
    legs = figures["threads_1"]["legs"]
    peer = best_peer(legs, lined, answers)

    def ratio(name: str) -> float | None:
        found = legs.get(name, {}).get("to_sentence_transformers")
        return found["median"] if found and answers[name].passes else None

    def megabytes(name: str) -> float | None:
        return round(sizes[name] / 1e6, 2) if name in sizes else None

    found = {
        **{name: Goal.at_least(g, ratio(leg)) for name, (leg, g) in TO_YARDSTICK.items()},
        "two_layers_to_best_peer": Goal.at_least(
            1.5,
            legs[peer]["ours_to_it"]["median"] if peer and answers[OURS].passes else None,
            peer or "no peer ran",
        ),
        "headline_alone_p50_ms": Goal.at_most(1.0, figures["alone"]["headline"][OURS]["p50_ms"]),
        "bundle_of_two_layers_mb": Goal.at_most(17, megabytes(OURS)),
        "bundle_of_one_layer_mb": Goal.at_most(15, megabytes("ours-1")),
        "load_to_first_vector_s": Goal.at_most(1.0, figures["process"]["load_s"]["median"]),
        "peak_resident_mb": Goal.at_most(200, figures["process"]["peak_mb"]),
        "slowest_order_to_quickest": Goal.at_most(1.03, max(figures["order"].values())),
    }
    return {name: asdict(goal) for name, goal in found.items()}


def text_lines(figures: Figures) -> list[str]:
    """Return what is printed: each leg's median on one thread, then the goals."""
    legs = figures["threads_1"]["legs"]
    lines = [
        f"{name:32} {one[SPEED]['median']:8,.0f} articles/s"
        + PASSES[figures["answers"][name]["passes"]]
        for name, one in sorted(legs.items(), key=lambda pair: pair[1][SPEED]["median"])
    ]
    said = {True: "met", False: "missed", None: "not measured"}
    lines += [
        f"{name:40} goal {one['goal']:<5} reached {one['reached']}: {said[one['met']]}"
        for name, one in figures["goals"].items()
    ]
    return [*lines, *(f"not run: {name}: {why}" for name, why in figures["not_run"].items())]
