"""Child: a process whose output goes to a file, whose CPU time is counted, which dies with us."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.study import launch

_LAST_BYTES = 4096


@dataclass(frozen=True)
class Times:
    """Say how long a process has run and what it used."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Ended:
    """Say how a process ended; `cause` is empty when it succeeded."""

    times: Times
    cause: str


def run_child(
    command: Sequence[str],
    *,
    log: Path,
    keep_open: int,
    beat_s: float,
    beat: Callable[[Times], None],
) -> Ended:
    """Run a command to its end and call `beat` every so often.

    The child inherits the file descriptor `keep_open` (the queue's lock). It dies with this
    process, which takes it along when it is interrupted itself.
    """
    started_s, used_before_s = time.monotonic(), _used_by_children_s()

    def times() -> Times:
        return Times(time.monotonic() - started_s, _used_by_children_s() - used_before_s)

    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  (the study's own command)
            [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(keep_open,),
        )
    try:
        while (code := _wait(process, beat_s)) is None:
            beat(Times(time.monotonic() - started_s, _used_by(process.pid)))
    except BaseException:
        process.kill()
        process.wait()
        beat(times())
        raise
    return Ended(times(), _cause(code, log))


def last_line(log: Path) -> str:
    """Return the last line that says something, without reading all of the file."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LAST_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def _cause(code: int, log: Path) -> str:
    if code == 0:
        return ""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return last_line(log).removeprefix("newsbert: ") or f"exit status {code}"


def _used_by_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _used_by(pid: int) -> float:
    """Return the CPU seconds so far of a running process and of its ended children."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return 0.0
    # The name in brackets may hold blanks; utime, stime, cutime, cstime are fields 14 to 17.
    fields = text.rpartition(")")[2].split()[11:15]
    return sum(map(int, fields)) / os.sysconf("SC_CLK_TCK")
