"""Legs take turns on the same texts, and none is timed before its answers are found right."""

from contextlib import nullcontext
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.comparison import BenchmarkError
from benchmarks.encoder_legs import OURS, REPEAT_OURS, LineUp
from benchmarks.encoder_rounds import (
    Answers,
    Team,
    check_answers,
    judged,
    speeds,
    time_alone,
    time_orders,
    time_rounds,
)
from benchmarks.encoder_texts import distinct_texts, headline, parts
from benchmarks.peers import PeerUnavailable, Worker
from contract.text import TextSpec
from tests.benchmarks.fakes import FakeWorker, a_leg, a_team, vectors

ROOT = Path(__file__).parents[2]
TEXTS = [f"text {n}" for n in range(8)]


def test_no_leg_is_timed_when_one_answers_wrongly(tmp_path: Path) -> None:
    """All answer first; a wrong one ends the run before a round begins."""
    log: list[str] = []
    legs = {a_leg("a"): FakeWorker("a", log), a_leg("b"): FakeWorker("b", log, off=0.1)}
    with pytest.raises(BenchmarkError, match=r"b: cosine 0\.99.* not its weights"):
        check_answers(a_team(tmp_path, legs), TEXTS, {"student": vectors(8)})
    assert not any("timed" in line for line in log)


def test_answers_are_told_for_each_leg(tmp_path: Path) -> None:
    """Near torch on its weights, and how far a text alone is from itself in a batch."""
    legs = {
        a_leg("a"): FakeWorker("a", []),
        a_leg("b", exact=False): FakeWorker("b", [], alone=0.1),
    }
    answers, found = check_answers(a_team(tmp_path, legs), TEXTS, {"student": vectors(8)})
    assert list(asdict(answers["a"]).values()) == pytest.approx([1, 1, 1], abs=1e-5)
    assert answers["b"].batch_cosine == pytest.approx(np.cos(0.1), abs=1e-4)
    assert (answers["a"].passes, answers["b"].passes) == (True, False)
    assert found["a"].shape == (8, 2)


@pytest.mark.parametrize(
    ("family", "exact", "degrees", "refused"),
    [
        ("student", True, 0.5, False),
        ("student", True, 2, True),
        ("teacher", True, 2, True),
        ("ours", True, 6, False),
        ("ours", True, 10, True),
        ("runner", True, 10, True),
        ("student", False, 10, False),
    ],
)
def test_float32_must_be_the_same_and_int8_near(
    family: str, exact: bool, degrees: float, refused: bool
) -> None:
    """0.9999 for each text in float32, 0.99 on average in int8; a peer's own int8 is only told."""
    leg = a_leg("x", family, exact=exact)
    turned = vectors(8, np.deg2rad(degrees))
    with pytest.raises(BenchmarkError, match="not its weights") if refused else nullcontext():
        judged(leg, turned, turned, vectors(8))


def test_without_weights_only_the_batch_is_judged() -> None:
    """A bundle whose checkpoint is not at hand was held to it when it was exported."""
    alike = judged(a_leg("x", "ours"), vectors(8), vectors(8)[:3], None)
    assert alike.mean_cosine is None
    assert alike.passes is None
    # Three angles from 0 to 1 are not the first three of eight.
    assert judged(a_leg("x", "ours"), vectors(8), vectors(3), None).passes is False


@pytest.mark.parametrize(
    ("mean", "batch", "passes"),
    [
        (0.99, 0.9999, True),
        (0.9899, 1.0, False),
        (1.0, 0.9998, False),
        (None, 1.0, None),
        (None, 0.9998, False),
        (float("nan"), 1.0, False),
        (1.0, float("nan"), False),
    ],
)
def test_a_leg_passes_when_both_gates_hold(
    mean: float | None, batch: float, passes: bool | None
) -> None:
    """What was compared with nothing has not passed, and what is no number fails."""
    assert Answers(mean, mean, batch).passes is passes


def test_another_leg_begins_each_round(tmp_path: Path) -> None:
    """So that none is always the neighbour of the same one."""
    log: list[str] = []
    legs = {a_leg(name): FakeWorker(name, log) for name in "abc"}
    rounds = time_rounds(a_team(tmp_path, legs), parts(TEXTS, 4))
    assert [line[0] for line in log] == list("abcbcacababc")
    assert [list(one) for one in rounds][1] == ["b", "c", "a"]


def test_a_leg_that_fails_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    """Its reason is told; what it did in earlier rounds is no figure."""

    class Failing(FakeWorker):
        def ask(self, request: dict[str, Any]) -> dict[str, Any]:
            raise PeerUnavailable("b: no answer in 600 s")

    legs = {a_leg("a"): FakeWorker("a", []), a_leg("b"): Failing("b", [])}
    lined = LineUp(legs=list(legs))
    team = Team(lined, {leg.name: cast("Worker", w) for leg, w in legs.items()}, tmp_path)
    rounds = time_rounds(team, parts(TEXTS, 2))
    assert [list(one) for one in rounds] == [["a"], ["a"]]
    assert lined.not_run == {"b": "b: no answer in 600 s"}


def test_speed_is_by_the_wall_and_by_the_processor() -> None:
    """Ten texts in two seconds, one of them on the processor."""
    found = speeds(10, {"seconds": 2.0, "cpu_seconds": 1.0, "peak_mb": 99.96})
    assert found == {"articles_per_s": 5.0, "articles_per_cpu_s": 10.0, "peak_mb": 100.0}


def test_ours_repeats_a_round_and_counts_what_it_did(tmp_path: Path) -> None:
    """A leg that is soon done would not be timed well; every encoding takes two seconds."""
    ours, other = FakeWorker(OURS, []), FakeWorker("other", [])
    legs = {a_leg(OURS, "ours"): ours, a_leg("other"): other}
    (found,) = time_rounds(a_team(tmp_path, legs), [TEXTS])
    assert (ours.timed, other.timed) == ([TEXTS] * REPEAT_OURS, [TEXTS])
    assert found[OURS]["articles_per_s"] == found["other"]["articles_per_s"] == 8 / 2


def test_one_text_alone_is_no_matter_for_the_teacher(tmp_path: Path) -> None:
    """The others take turns with it."""
    log: list[str] = []
    legs = {a_leg(n, f): FakeWorker(n, log) for n, f in (("a", "ours"), ("t", "teacher"))}
    found = time_alone(a_team(tmp_path, legs), "a goal")
    assert found == {"a": {"p50_ms": 1.0, "p99_ms": 2.0}}
    assert log == ["a alone"] * 3


def test_orders_are_told_as_ratios_to_the_quickest(tmp_path: Path) -> None:
    """By processor time, of each the turn that nobody disturbed; they take turns."""
    texts = ["bb", "dddd", "a", "ccc"]
    orders = {"sorted": ["a", "bb", "ccc", "dddd"], "reversed": ["dddd", "ccc", "bb", "a"]}
    orders["shuffled"] = texts
    quiet = dict(zip(orders, (2.0, 3.0, 2.5), strict=True))
    asked = count()

    def cost(given: list[str]) -> float:
        turn, place = divmod(next(asked), len(orders))
        name = next(name for name, order in orders.items() if order == given)
        return quiet[name] if turn == place else 10.0 + place

    worker = FakeWorker(OURS, [], cost=cost)
    found = time_orders(a_team(tmp_path, {a_leg(OURS, "ours"): worker}), texts)
    assert found == {"sorted": 1.0, "reversed": 1.5, "shuffled": 1.25}
    assert worker.timed[::2] == [*orders.values()] * 3


def test_the_parts_hold_every_text_once() -> None:
    """All rounds together encode all texts."""
    dealt = parts([str(n) for n in range(100)], 12)
    assert len(dealt) == 12
    assert sorted(text for part in dealt for text in part) == sorted(str(n) for n in range(100))


def test_texts_are_distinct_and_in_a_seeded_order() -> None:
    """A file given twice adds nothing."""
    file = ROOT / "samples" / "articles.jsonl"
    once, twice = (distinct_texts(TextSpec(), [file] * n) for n in (1, 2))
    assert once == twice != sorted(once)
    assert len(set(once)) == len(once) > 100
    assert distinct_texts(TextSpec(), [file], 10) == once[:10]


def test_the_headline_is_a_title_of_middle_length() -> None:
    """It holds no abstract."""
    text = headline([ROOT / "samples" / "articles.jsonl"])
    assert 10 < len(text) < 120
