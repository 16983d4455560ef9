"""How much memory a process holds, from what its kernel counts."""

import numpy as np

from benchmarks.memory import memory_mib, parse_memory


def test_memory_is_read_from_the_status() -> None:
    """In MiB: what is held now, and the most that ever was."""
    status = "VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1536 kB\n"
    assert parse_memory(status) == {"rss_mib": 1.5, "peak_mib": 2.0}


def test_what_is_held_is_counted() -> None:
    """Sixty-four MiB more, of which the most keeps a trace when they are given back."""
    before = memory_mib()["rss_mib"]
    held = np.ones(64 * 2**20 // 8)
    during = memory_mib()["rss_mib"]
    assert held.nbytes == 64 * 2**20
    assert during - before > 60
    del held
    # The kernel counts both to within a few pages.
    assert memory_mib()["peak_mib"] > during - 2
