"""Legs take turns on the same texts, and none is timed before its answers are found right."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.comparison import BenchmarkError
from benchmarks.encoder_legs import OURS, Leg, LineUp
from benchmarks.encoder_rounds import (
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
from contract.article import Vectors
from contract.text import TextSpec

ROOT = Path(__file__).parents[2]
TEXTS = [f"text {n}" for n in range(8)]


def a_leg(name: str, family: str = "student", *, exact: bool = True) -> Leg:
    """Return a leg on the student's weights."""
    return Leg(name, "bundle", cast("Any", family), Path(name), "student", exact)


def vectors(n: int, off: float = 0.0) -> Vectors:
    """Return unit vectors, turned by an angle (radians)."""
    angles = np.linspace(0, 1, n) + off
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class FakeWorker:
    """Notes what it is asked; answers with fixed vectors and times."""

    def __init__(self, name: str, log: list[str], off: float = 0.0, alone: float = 0.0) -> None:
        self._name, self._log = name, log
        self._off, self._alone = off, alone

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request."""
        if "alone" in request:
            self._log.append(f"{self._name} alone")
            return {"p50_ms": 1.0, "p99_ms": 2.0}
        self._log.append(f"{self._name} {'checks' if request.get('out') else 'is timed'}")
        if request.get("out"):
            off = self._off + (self._alone if request.get("singly") else 0)
            np.save(request["out"], vectors(len(TEXTS), off))
        return {"seconds": 2.0, "cpu_seconds": 1.0, "peak_mb": 100.0}


def a_team(folder: Path, legs: dict[Leg, Any]) -> Team:
    """Return fake workers as a team."""
    lined = LineUp(legs=list(legs))
    return Team(lined, {leg.name: cast("Worker", w) for leg, w in legs.items()}, folder)


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
    found = judged(a_leg("x", "ours"), vectors(8), vectors(3), None)
    assert found.mean_cosine is None
    assert not found.passes  # three angles from 0 to 1 are not the first three of eight


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
    """A leg that is soon done would not be timed well."""
    legs = {a_leg(OURS, "ours"): FakeWorker(OURS, [])}
    assert time_rounds(a_team(tmp_path, legs), [TEXTS])[0][OURS]["articles_per_s"] == 5 * 8 / 2


def test_one_text_alone_is_no_matter_for_the_teacher(tmp_path: Path) -> None:
    """The others take turns with it."""
    log: list[str] = []
    legs = {a_leg(n, f): FakeWorker(n, log) for n, f in (("a", "ours"), ("t", "teacher"))}
    found = time_alone(a_team(tmp_path, legs), "a goal")
    assert found == {"a": {"p50_ms": 1.0, "p99_ms": 2.0}}
    assert log == ["a alone"] * 3


def test_orders_are_told_as_ratios_to_the_quickest(tmp_path: Path) -> None:
    """By processor time; a fake that always takes as long gives 1."""
    team = a_team(tmp_path, {a_leg(OURS, "ours"): FakeWorker(OURS, [])})
    assert time_orders(team, TEXTS) == {"sorted": 1.0, "reversed": 1.0, "shuffled": 1.0}


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
