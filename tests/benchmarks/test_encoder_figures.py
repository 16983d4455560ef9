"""An encoder run's figures: ratios within a round, goals that say what was reached, one picture."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from benchmarks import ceiling, encoder_profile
from benchmarks.ceiling import int8_ceiling, macs_per_text
from benchmarks.encoder_goals import Goal, best_peer, ceiling_shares, goals, speeds_of, text_lines
from benchmarks.encoder_legs import OURS, YARDSTICK, Leg
from benchmarks.encoder_plot import COLOURS, NAMES, draw, picture
from benchmarks.encoder_rounds import Answers
from contract.bundle import open_bundle
from tests.export.models import an_architecture

ROOT = Path(__file__).parents[2]
FAMILIES = {
    YARDSTICK: "teacher",
    "fastembed-student": "student",
    "fastembed-student-int8": "student",
    "fastembed-our-graph": "runner",
    OURS: "ours",
    "ours-1": "ours",
}
SPEEDS = dict(zip(FAMILIES, (100, 400, 1_000, 1_500, 1_600, 2_600), strict=True))
GOOD = Answers(0.999, 0.99, 1.0)


def a_round(factor: float = 1.0, **changed: float) -> dict[str, dict[str, float]]:
    """Return a round on a machine that is so many times as fast."""
    speeds = {**SPEEDS, **changed}
    return {
        name: {
            "articles_per_s": speed * factor,
            "articles_per_cpu_s": speed * factor * 1.01,
            "peak_mb": 120.0,
        }
        for name, speed in speeds.items()
    }


def answers(**changed: Answers) -> dict[str, Answers]:
    """Return answers that pass, but for a peer's own int8."""
    dynamic = Answers(0.97, 0.9, 0.99)
    return {**dict.fromkeys(FAMILIES, GOOD), "fastembed-student-int8": dynamic, **changed}


def the_legs() -> list[Leg]:
    """Return the legs of the made-up run."""
    return [Leg(n, "bundle", family, Path()) for n, family in FAMILIES.items()]  # type: ignore[arg-type]


def figures(rounds: list[Any] | None = None) -> dict[str, Any]:
    """Return what a run has found before its goals are judged."""
    return {
        "threads_1": speeds_of(rounds or [a_round(), a_round(0.5)]),
        "alone": {"headline": {OURS: {"p50_ms": 0.4, "p99_ms": 0.6}}},
        "process": {"load_s": {"median": 0.7}, "peak_mb": 133.0},
        "order": {"sorted": 1.0, "reversed": 1.01, "shuffled": 1.02},
        "answers": {name: found.as_dict() for name, found in answers().items()},
        "not_run": {"infinity-student": "left out by --peers"},
    }


def judged(**changed: Answers) -> dict[str, Any]:
    """Return the goals of the made-up run."""
    return goals(figures(), the_legs(), answers(**changed), {OURS: 16_600_000})


def test_ratios_are_taken_within_a_round() -> None:
    """A machine of half the speed in the second round changes no ratio."""
    found = speeds_of([a_round(), a_round(0.5)])
    assert found["ratio"] == {"min": 16, "median": 16, "max": 16, "runs": 2}
    assert found["student_articles_per_s"]["median"] == 1_200
    assert found["teacher_articles_per_s"]["max"] == 100
    assert found["legs"]["fastembed-student"]["ours_to_it"]["median"] == 4


def test_a_leg_that_left_has_no_figure() -> None:
    """Half a leg is none; without the yardstick there is no ratio to it."""
    without = {n: one for n, one in a_round().items() if n != YARDSTICK}
    found = speeds_of([a_round(), without])
    assert YARDSTICK not in found["legs"]
    assert "ratio" not in found
    assert "to_sentence_transformers" not in found["legs"][OURS]


def test_goals_say_what_was_reached() -> None:
    """Each with its bound; the run does not fail for one that is missed."""
    found = judged()
    assert found["two_layers_to_sentence_transformers"] == {
        "goal": 12, "reached": 16, "met": True, "note": "",
    }  # fmt: skip
    assert found["two_layers_to_best_peer"]["reached"] == 4
    assert found["two_layers_to_best_peer"]["note"] == "fastembed-student"
    assert found["headline_alone_p50_ms"]["met"]
    assert found["bundle_of_two_layers_mb"]["reached"] == 16.6
    assert found["bundle_of_one_layer_mb"] == asdict_of(Goal(15, None, None))


def asdict_of(goal: Goal) -> dict[str, Any]:
    """Return a goal as it is written."""
    return {"goal": goal.goal, "reached": goal.reached, "met": goal.met, "note": goal.note}


@pytest.mark.parametrize(("reached", "met"), [(12.0, True), (11.99, False), (None, None)])
def test_a_goal_is_met_at_its_bound(reached: float | None, met: bool | None) -> None:
    """What was not measured is neither met nor missed."""
    assert Goal.at_least(12, reached).met is met
    assert Goal.at_most(12, None if reached is None else 24 - reached).met is met


def test_a_graph_that_fails_a_gate_reaches_no_ratio() -> None:
    """Speed counts for vectors that do not depend on their batch."""
    found = judged(**{OURS: replace(GOOD, batch_cosine=0.99)})
    assert found["two_layers_to_sentence_transformers"]["met"] is None


def test_a_graph_that_was_compared_with_nothing_reaches_no_ratio() -> None:
    """Nobody knows that its vectors are those of its weights; neither is it the best peer."""
    unknown = replace(GOOD, mean_cosine=None, least_cosine=None)
    found = judged(**{OURS: unknown, "fastembed-student": unknown})
    assert found["two_layers_to_sentence_transformers"]["met"] is None
    assert found["one_layer_to_sentence_transformers"]["reached"] == 26
    assert found["two_layers_to_best_peer"]["note"] == "no peer ran"


def test_the_best_peer_is_the_fastest_whose_answers_pass() -> None:
    """Neither a quicker one that fails a gate, nor one that runs our graph, nor the teacher."""
    legs = speeds_of([a_round()])["legs"]
    assert best_peer(legs, the_legs(), answers()) == "fastembed-student"
    good = answers(**{"fastembed-student-int8": GOOD})
    assert best_peer(legs, the_legs(), good) == "fastembed-student-int8"
    assert best_peer({OURS: legs[OURS]}, the_legs(), answers()) is None


def test_every_leg_goal_and_absence_is_printed() -> None:
    """One line each."""
    told = figures()
    told["goals"] = judged()
    told["answers"]["ours-1"] = Answers(None, None, 1.0).as_dict()
    lines = text_lines(told)
    assert sum("articles/s" in line for line in lines) == len(FAMILIES)
    assert any("fastembed-student-int8" in line and "fails a gate" in line for line in lines)
    assert [line.split()[0] for line in lines if "not compared" in line] == ["ours-1"]
    assert any("bundle_of_one_layer" in line and "not measured" in line for line in lines)
    assert lines[-1] == "not run: infinity-student: left out by --peers"


def test_multiply_adds_are_those_counted_by_hand() -> None:
    """Two layers of MiniLM: 4 x 384^2 + 2 x 384 x 1,536 each, and 384 x 200 of the pooling."""
    shape = {"hidden": 384, "intermediate": 1_536, "query_width": 200}
    assert macs_per_text(1, layers=2, **shape) == 3_615_744
    assert macs_per_text(35, layers=1, **shape) == 35 * 1_846_272


def test_speed_is_that_of_the_fastest_run() -> None:
    """A neighbour only ever slows a run down."""
    ticks: Iterator[int] = iter([0, 50, 100, 110, 200, 250, 300, 350, 400, 450, 500, 550])
    found = ceiling.speed(lambda: None, (10, 10, 10), lambda: next(ticks))
    assert found == 1_000 / 10e-9


def test_the_ceiling_is_the_best_of_both_libraries() -> None:
    """Measured for real, on a small product."""
    found = int8_ceiling(((32, 64, 32),))
    assert found["gmacs_per_s"] == max(found["measured"].values()) > 0
    assert len(found["measured"]) == 2


def test_a_share_is_processor_time_at_the_ceiling_to_that_taken() -> None:
    """A text of 10^9 at 2 x 10^9 a second would take 500 ms: one that takes 2,000 is a quarter."""
    architecture = replace(an_architecture(), hidden=100, intermediate=45_000, query_width=0)
    legs = {"ours-1": {"articles_per_cpu_s": {"median": 0.5}}, "other": {}}
    macs = macs_per_text(1, layers=1, hidden=100, intermediate=45_000, query_width=0)
    found = ceiling_shares(legs, architecture, {"gmacs_per_s": 2.0}, 1e9 / macs)
    assert list(found) == ["ours-1"]
    assert found["ours-1"]["share"] == pytest.approx(0.25)
    assert found["ours-1"]["us_per_text_at_the_ceiling"] == pytest.approx(5e5)


def event(name: str, operator: str, duration: float) -> dict[str, Any]:
    """Return a line of ONNX Runtime's profile."""
    told = f"{name}_kernel_time"
    return {"cat": "Node", "name": told, "dur": duration, "args": {"op_name": operator}}


def test_shares_are_of_medians_by_operator() -> None:
    """One disturbed run of a node moves nothing; what is no kernel is left out."""
    noise = [{"cat": "Session", "name": "run_kernel_time", "dur": 9e9}]
    events = [*noise, *(event("a", "MatMul", d) for d in (3, 3, 999)), event("b", "Add", 1)]
    assert encoder_profile.shares_of(events) == {"MatMul": 0.75, "Add": 0.25}


def test_the_shipped_graph_is_profiled() -> None:
    """Shares add up, and tokens are counted without padding."""
    texts = [" ".join(["news"] * n) for n in (3, 5, 8)]
    found = encoder_profile.profile(open_bundle(ROOT / "bundles" / "newsbert"), texts)
    assert sum(found["operators"].values()) == pytest.approx(1, abs=0.01)
    assert found["tokens_per_text"] == pytest.approx(np.mean([5, 7, 10]), abs=1e-3)
    assert 0 <= found["padding_share"] < 0.5


def drawable(**changed: Answers) -> dict[str, Any]:
    """Return the made-up run as its result file holds it."""
    told = figures([a_round(), a_round(0.5), a_round(0.9)])
    told["answers"] = {name: found.as_dict() for name, found in answers(**changed).items()}
    found: dict[str, Any] = json.loads(json.dumps({**told, "goals": judged()}))
    return found


def test_the_picture_shows_each_legs_median_in_its_familys_colour() -> None:
    """The slowest lowest; hatched is what fails a gate, dotted what was compared with nothing."""
    (axes,) = picture(drawable(**{"ours-1": Answers(None, None, 1.0)}), FAMILIES).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(FAMILIES)
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [bar.get_width() for bar in bars] == [0.9 * speed for speed in SPEEDS.values()]
    colours = [to_hex(bar.get_facecolor()) for bar in bars]
    assert colours == [COLOURS[family] for family in FAMILIES.values()]
    assert [bar.get_hatch() or "" for bar in bars] == ["", "", "///", "", "", "..."]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(NAMES.values())


def test_the_picture_shows_extremes_and_what_was_asked() -> None:
    """Whiskers from the slowest round to the quickest; lines at the goals' times the yardstick."""
    told = drawable()
    told["goals"]["one_layer_to_sentence_transformers"]["goal"] = 30
    (axes,) = picture(told, FAMILIES).axes
    whiskers = [line for line in axes.collections if isinstance(line, LineCollection)]
    ends = [line.get_segments()[0][:, 0].tolist() for line in whiskers]
    assert ends == [pytest.approx([0.5 * speed, speed]) for speed in SPEEDS.values()]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [np.asarray(line.get_xdata())[0] for line in dotted] == [12 * 90, 30 * 90]
    del told["threads_1"]["legs"][YARDSTICK]
    (axes,) = picture(told, FAMILIES).axes
    assert not [line for line in axes.lines if line.get_linestyle() == ":"]


def test_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    """A PNG; other figures give another one."""
    other = drawable(**{OURS: replace(GOOD, batch_cosine=0.99)})
    first, second, third = (
        draw(result, FAMILIES, tmp_path / f"{n}.png").read_bytes()
        for n, result in enumerate((drawable(), drawable(), other))
    )
    assert first.startswith(b"\x89PNG")
    assert first == second != third
