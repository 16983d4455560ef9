"""Legs that encode nothing: workers that note what they are asked and say what they are told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.encoder_legs import Leg, LineUp
from benchmarks.encoder_rounds import Team
from benchmarks.peers import Worker
from contract.article import Vectors


def a_leg(name: str, family: str = "student", *, exact: bool = True) -> Leg:
    """Return a leg on the student's weights."""
    return Leg(name, "bundle", cast("Any", family), Path(name), "student", exact)


def vectors(n: int, off: float = 0.0) -> Vectors:
    """Return unit vectors, turned by an angle (radians)."""
    angles = np.linspace(0, 1, n) + off
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class FakeWorker:
    """Notes what it is asked, and in `timed` the texts of every encoding that was timed.

    Each takes two seconds; `cost` says how many of the processor's.
    """

    def __init__(
        self,
        name: str,
        log: list[str],
        *,
        off: float = 0.0,
        alone: float = 0.0,
        cost: Callable[[list[str]], float] = lambda _: 1.0,
    ) -> None:
        self._name, self._log = name, log
        self._off, self._alone, self._cost = off, alone, cost
        self.timed: list[list[str]] = []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request."""
        if "alone" in request:
            self._log.append(f"{self._name} alone")
            return {"p50_ms": 1.0, "p99_ms": 2.0}
        texts = json.loads(Path(request["encode"]).read_text("utf-8"))
        repeat = request.get("repeat", 1)
        if request.get("out"):
            self._log.append(f"{self._name} checks")
            off = self._off + (self._alone if request.get("singly") else 0)
            np.save(request["out"], vectors(len(texts), off))
        else:
            self._log.append(f"{self._name} is timed")
            self.timed += [texts] * repeat
        cpu_seconds = self._cost(texts) * repeat
        return {"seconds": 2.0 * repeat, "cpu_seconds": cpu_seconds, "peak_mb": 100.0}


def a_team(folder: Path, legs: dict[Leg, Any]) -> Team:
    """Return fake workers as a team."""
    lined = LineUp(legs=list(legs))
    return Team(lined, {leg.name: cast("Worker", w) for leg, w in legs.items()}, folder)
