"""Wait for what another process or thread does."""

import time
from collections.abc import Callable

TIMEOUT_S = 20.0
PAUSE_S = 0.01


def wait_until(
    is_so: Callable[[], bool],
    timeout_s: float = TIMEOUT_S,
    why: Callable[[], str] = lambda: "",
) -> float:
    """Poll until a condition holds; return how many seconds that took, fail when time is up."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {why()}"
        time.sleep(PAUSE_S)
    return time.monotonic() - started
