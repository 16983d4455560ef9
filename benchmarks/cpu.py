"""How much of a core a process used, and whether a leg may count."""

import os
from pathlib import Path

# Below this the server was waiting for something else: the load tool, a neighbour, the disk.
FULL_CORE = 0.95
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads so far."""
    return parse_cpu_seconds(Path(f"/proc/{pid}/stat").read_text("utf-8"))


def parse_cpu_seconds(stat: str) -> float:
    """Return user plus system time of a line of `/proc/<pid>/stat`."""
    # The command's name may hold blanks and brackets: count from the last bracket.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def void_reason(cpu_share: float, errors: int) -> str | None:
    """Say why a leg does not count, None when it does."""
    if errors:
        return f"{errors} requests failed"
    if cpu_share < FULL_CORE:
        return f"the server used {cpu_share:.0%} of its core, less than {FULL_CORE:.0%}"
    return None
