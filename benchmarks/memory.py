"""How much memory a process holds, from what its kernel counts."""

import re
from pathlib import Path
from typing import Literal

KIB_PER_MIB = 1_024
LINES = {"rss_mib": "VmRSS", "peak_mib": "VmHWM"}


def memory_mib(pid: int | Literal["self"] = "self") -> dict[str, float]:
    """Return what a process holds now and the most that it ever held, in MiB.

    `getrusage` would add a parent's to the most that a child held.
    """
    return parse_memory(Path(f"/proc/{pid}/status").read_text("utf-8"))


def parse_memory(status: str) -> dict[str, float]:
    """Read `/proc/<pid>/status`."""
    kib = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    return {name: round(int(kib[line]) / KIB_PER_MIB, 1) for name, line in LINES.items()}
