"""How busy a machine is, from what its kernel counts."""

import os
import subprocess
import sys

from benchmarks.cpu import TICKS_PER_S, busy_cores, parse_busy_seconds

STAT = "cpu  100 200 300 9999 8888 10 20 30 5 6\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
SPIN = "print(flush=True)\nwhile True: pass"


def test_busy_is_all_that_is_neither_idle_nor_waiting() -> None:
    """User, nice, system, interrupts and what other machines took; guests are counted in user."""
    assert parse_busy_seconds(STAT) == 660 / TICKS_PER_S


def test_a_process_that_spins_keeps_a_core_busy() -> None:
    """Measured for real, for a moment: no less than it uses, no more than there is."""
    command = [sys.executable, "-c", SPIN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as spinning:
        assert spinning.stdout is not None
        spinning.stdout.readline()
        busy = busy_cores(0.2)
        spinning.kill()
    # A sleep that lasts longer than asked, on a busy machine, counts more than was there.
    assert 0.6 < busy < 2 * (os.cpu_count() or 1)
