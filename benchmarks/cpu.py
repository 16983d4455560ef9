"""Which cores a process uses, how much of them, and whether a leg may count."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Below this the server was waiting for something else: the load tool, a neighbour, the disk.
FULL_CORE = 0.95
# A process that uses less of a core for so long waits for requests.
IDLE_SHARE, IDLE_S = 0.05, 0.5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads so far."""
    return parse_cpu_seconds(Path(f"/proc/{pid}/stat").read_text("utf-8"))


def parse_cpu_seconds(stat: str) -> float:
    """Return user plus system time of a line of `/proc/<pid>/stat`."""
    # The command's name may hold blanks and brackets: count from the last bracket.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def idle(used: Callable[[], float]) -> bool:
    """Say whether a process only waits, by what it tells of its CPU time now and a little later."""
    before = used()
    time.sleep(IDLE_S)
    return used() - before < IDLE_SHARE * IDLE_S


def void_reason(cpu_share: float, errors: int) -> str | None:
    """Say why a leg does not count, None when it does."""
    if errors:
        return f"{errors} requests failed"
    if cpu_share < FULL_CORE:
        return f"the server used {cpu_share:.0%} of its core, less than {FULL_CORE:.0%}"
    return None


def first_cores(count: int) -> set[int]:
    """Return the lowest cores of those that this process may use, at most `count`."""
    return set(sorted(os.sched_getaffinity(0))[:count])


@contextmanager
def pinned(count: int) -> Iterator[None]:
    """Keep the calling thread, and threads that it starts, on the first cores for the block."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, first_cores(count))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def busy_cores(seconds: float = 2.0) -> float:
    """Return how many cores were busy for the next seconds, whoever uses them."""
    before = parse_busy_seconds(Path("/proc/stat").read_text("utf-8"))
    time.sleep(seconds)
    return (parse_busy_seconds(Path("/proc/stat").read_text("utf-8")) - before) / seconds


def parse_busy_seconds(stat: str) -> float:
    """Return all cores' time that was neither idle nor waiting, from `/proc/stat`."""
    ticks = [int(word) for word in stat.splitlines()[0].split()[1:]]
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = ticks[:8]
    return (user + nice + system + interrupts + soft + stolen) / TICKS_PER_S
