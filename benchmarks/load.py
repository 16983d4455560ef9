"""Load a server with wrk from a core of its own, and say how it went and whether it counts."""

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison import DIGITS, BenchmarkError
from benchmarks.cpu import cpu_seconds, void_reason

SCRIPT = Path(__file__).with_name("wrk.lua")
LOAD_CORE = 1
# Enough that the server never waits for the load tool, fewer than it sheds at.
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of load on one server; `void` says why it does not count.

    `requests_per_cpu_s` divides by the processor time used instead: a check on the figure that
    neighbours on the core hardly move.
    """

    name: str
    requests_per_s: float
    requests_per_cpu_s: float
    cpu_share: float
    p50_ms: float
    p99_ms: float
    errors: int
    void: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return everything by name."""
        return asdict(self)


def require(*tools: str) -> None:
    """Raise BenchmarkError with what is to be installed unless all tools are on PATH."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise BenchmarkError(f"not on PATH: {', '.join(missing)} (this benchmark needs wrk, Linux)")


def load(name: str, *, url: str, pid: int, bodies: Path, seconds: int) -> Leg:
    """Post the bodies in turn for some seconds, as fast as the server of `pid` answers."""
    command = [
        *("taskset", "--cpu-list", str(LOAD_CORE)),
        *("wrk", "--threads", "1", "--connections", str(CONNECTIONS)),
        *("--duration", f"{seconds}s", "--timeout", "10s", "--script", str(SCRIPT)),
        *(url, "--", str(bodies)),
    ]
    used, started = cpu_seconds(pid), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, used = time.perf_counter() - started, cpu_seconds(pid) - used
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return leg_of(name, json.loads(done.stdout.splitlines()[-1]), cpu_s=used, wall_s=wall)


def leg_of(name: str, told: Mapping[str, Any], *, cpu_s: float, wall_s: float) -> Leg:
    """Build a leg from what wrk told and the processor time that the server used meanwhile."""
    cpu_share = cpu_s / wall_s
    return Leg(
        name=name,
        requests_per_s=round(told["requests"] / told["seconds"], DIGITS),
        requests_per_cpu_s=round(told["requests"] / max(cpu_s, 1e-3), DIGITS),
        cpu_share=round(cpu_share, DIGITS),
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        errors=told["errors"],
        void=void_reason(cpu_share, told["errors"]),
    )


def valid_rounds(rounds: Sequence[Mapping[str, Leg]]) -> list[dict[str, float]]:
    """Return requests per second of the rounds in which every leg counts.

    One leg of a pair says nothing, so a void leg takes its neighbour with it. Raise BenchmarkError
    where no round is left.
    """
    valid = [
        {name: leg.requests_per_s for name, leg in one.items()}
        for one in rounds
        if not any(leg.void for leg in one.values())
    ]
    if not valid:
        reasons = sorted(
            {f"{leg.name}: {leg.void}" for o in rounds for leg in o.values() if leg.void}
        )
        raise BenchmarkError(f"every round is void ({'; '.join(reasons)}): is the machine quiet?")
    return valid
