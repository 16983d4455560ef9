"""Ledger: what the queue did, one line per event, and the CPU time that it took."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Event = Literal["begun", "alive", "finished", "failed"]


@dataclass(frozen=True)
class Entry:
    """Record how far an attempt at a step is; times are of this attempt alone."""

    step: str
    attempt: int
    event: Event
    wall_s: float = 0.0
    cpu_s: float = 0.0  # user and system, of the process and all that it started
    cause: str = ""


class Ledger:
    """Append to a file and add up; a line cut off by a kill is left out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Entry) -> None:
        """Append an entry with the time of day."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **asdict(entry)}
        with self._path.open("a+b") as file:
            # A line that a kill cut off must not swallow this one.
            start = b"\n" if _ends_in_mid_line(self._path) else b""
            file.write(start + json.dumps(record).encode() + b"\n")

    def entries(self) -> list[Entry]:
        """Return every whole entry."""
        if not self._path.exists():
            return []
        lines = self._path.read_text("utf-8", errors="replace").splitlines()
        return [entry for line in lines if (entry := _entry(line)) is not None]

    def next_attempt(self, step: str) -> int:
        """Return the number of the attempt to come, from 1."""
        return max((e.attempt for e in self.entries() if e.step == step), default=0) + 1

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds of each step, over all attempts: failed, killed or finished."""
        return _per_step({(e.step, e.attempt): e.cpu_s for e in self.entries()})

    def wall_s(self) -> dict[str, float]:
        """Return the wall seconds of each step, over all attempts."""
        return _per_step({(e.step, e.attempt): e.wall_s for e in self.entries()})


def _per_step(last: dict[tuple[str, int], float]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for (step, _), seconds in last.items():
        totals[step] += seconds
    return dict(totals)


def _entry(line: str) -> Entry | None:
    try:
        record = json.loads(line)
        return Entry(**{name: record[name] for name in Entry.__dataclass_fields__})
    except (ValueError, KeyError, TypeError):
        return None


def _ends_in_mid_line(path: Path) -> bool:
    content = path.read_bytes()
    return bool(content) and not content.endswith(b"\n")
