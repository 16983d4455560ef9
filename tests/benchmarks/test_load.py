"""A leg counts only when the server was what limited it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.comparison import BenchmarkError
from benchmarks.cpu import cpu_seconds, parse_cpu_seconds, void_reason
from benchmarks.load import SCRIPT, Leg, leg_of, load, require, valid_rounds
from benchmarks.servers import running

TOLD = {"requests": 500, "seconds": 2.0, "bytes": 9, "errors": 0, "p50_ms": 1.5, "p99_ms": 4.0}
needs_wrk = pytest.mark.skipif(
    not (shutil.which("wrk") and shutil.which("taskset")), reason="there is no wrk on PATH"
)
needs_two_cores = pytest.mark.skipif(
    not {0, 1} <= os.sched_getaffinity(0), reason="the cores 0 and 1 are not both usable"
)


def a_leg(name: str = "service", requests_per_s: float = 100.0, **changes: Any) -> Leg:
    """Build a leg that counts."""
    defaults = {"cpu_share": 0.99, "p50_ms": 1.0, "p99_ms": 2.0, "errors": 0, "void": None}
    speeds = {"requests_per_s": requests_per_s, "requests_per_cpu_s": requests_per_s}
    return Leg(name=name, **{**speeds, **defaults, **changes})


@pytest.mark.parametrize("share", [0.95, 1.0, 1.02])
def test_a_leg_counts_when_the_server_used_its_core(share: float) -> None:
    """From 95 % on the server was the limit."""
    assert void_reason(share, 0) is None


@pytest.mark.parametrize("share", [0.0, 0.5, 0.949])
def test_a_leg_is_void_when_the_server_waited(share: float) -> None:
    """Below 95 % something else was the limit, so the figure is of something else."""
    assert void_reason(share, 0) == f"the server used {share:.0%} of its core, less than 95%"


def test_a_leg_with_errors_is_void() -> None:
    """Refusals are fast; they do not count as answers."""
    assert void_reason(1.0, 3) == "3 requests failed"


def test_a_leg_says_what_wrk_told() -> None:
    """Speed is requests over seconds; the share of the core decides whether it counts."""
    leg = leg_of("service", TOLD, cpu_s=2.0, wall_s=2.05)
    assert (leg.requests_per_s, leg.requests_per_cpu_s, leg.void) == (250.0, 250.0, None)
    starved = leg_of("service", TOLD, cpu_s=1.0, wall_s=2.0)
    assert (starved.requests_per_cpu_s, starved.cpu_share) == (500.0, 0.5)
    assert starved.void is not None
    assert leg_of("service", {**TOLD, "errors": 1}, cpu_s=2.0, wall_s=2.05).void is not None


def test_a_void_leg_takes_its_round_with_it() -> None:
    """A leg has nothing to be compared with once its neighbour is void."""
    rounds = [
        {"service": a_leg(), "yardstick": a_leg("yardstick", 400.0)},
        {"service": a_leg(), "yardstick": a_leg("yardstick", 90.0, void="half a core")},
    ]
    assert valid_rounds(rounds) == [{"service": 100.0, "yardstick": 400.0}]


def test_without_a_valid_round_there_is_no_figure() -> None:
    """The error names each leg's reason once."""
    rounds = [{"service": a_leg(void="half a core")}] * 2
    with pytest.raises(BenchmarkError, match=r"every round is void \(service: half a core\)"):
        valid_rounds(rounds)


def test_cpu_time_is_read_behind_the_command_name() -> None:
    """A name with blanks and brackets moves no field: user 150 and system 50 ticks."""
    stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 4 0 100 1 1"
    assert parse_cpu_seconds(stat) == 200 / os.sysconf("SC_CLK_TCK")


def test_cpu_time_of_a_busy_process_grows() -> None:
    """The time is that of the whole process."""
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) - before < 0.05:
        sum(range(10_000))


def test_a_missing_tool_is_named() -> None:
    """The one line says what to install."""
    require("sh")
    with pytest.raises(BenchmarkError, match="not on PATH: no-such-load-tool"):
        require("sh", "no-such-load-tool")


def test_without_wrk_the_benchmark_ends_with_one_line(tmp_path: Path) -> None:
    """Exit code 2, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.service"],
        cwd=SCRIPT.parent.parent,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "wrk" in done.stderr


@needs_wrk
@needs_two_cores
def test_wrk_posts_the_bodies_and_counts_refusals(tmp_path: Path) -> None:
    """A body that the request model accepts is answered; one that it refuses is an error."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"history": ["S0001"], "n": 10}\n{"history": ["S0002"], "n": 5}\n')
    bad.write_text('{"history": ["S0001"], "n": -1}\n')
    arguments = ("benchmarks.yardstick", "--recommendation-bytes", "700", "--rank-bytes", "9000")
    with running(arguments, ready="/health/ready", log=tmp_path / "yardstick.log") as server:
        url = server.url("/v1/recommendations")
        leg = load("good", url=url, pid=server.pid, bodies=good, seconds=1)
        assert (leg.errors, leg.requests_per_s > 0, leg.cpu_share > 0) == (0, True, True)
        assert load("bad", url=url, pid=server.pid, bodies=bad, seconds=1).errors > 0
        status, answer = server.post("/v1/rank", b'{"candidates": ["S0001"]}')
        assert (status, len(answer)) == (200, 9000)


def test_a_server_that_does_not_start_is_reported_with_its_last_word(tmp_path: Path) -> None:
    """The error names the server and repeats what it said last."""
    log = tmp_path / "service.log"
    if not shutil.which("taskset"):
        pytest.skip("there is no taskset on PATH")
    with (
        pytest.raises(BenchmarkError, match=r"service does not start: .*no-such-option"),
        running(("newsbert", "serve", "--no-such-option"), ready="/", log=log),
    ):
        pass
