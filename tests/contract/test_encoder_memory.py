"""An encoding process is small and stays so, with the bundle that ships."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "newsbert"
LIMIT_MB = 200
GROWTH_MB = 5

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs /proc, which Linux has"
)


def memory_mb(*counts: int, **options: int) -> list[float]:
    """Encode so many texts in a process of its own: the most memory it had at each count."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    script = ROOT / "tests" / "contract" / "encoding_process.py"
    found = subprocess.run(
        [sys.executable, script, BUNDLE, *map(str, counts), *flags],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    told: dict[str, Any] = json.loads(found.stdout)
    assert told["heavy"] == []
    return list(told["memory_mb"])


def test_an_encoding_process_stays_below_200_mb() -> None:
    """Two threads, texts of every length."""
    (memory,) = memory_mb(500, threads=2)
    assert memory <= LIMIT_MB


def test_batches_without_a_bound_are_noticed() -> None:
    """The limit is no matter of course: batches of many tokens break it."""
    (memory,) = memory_mb(500, tokens_per_batch=16_384)
    assert memory > LIMIT_MB


@pytest.mark.slow
def test_memory_does_not_grow_with_use() -> None:
    """It is reached within 2,000 texts and the same after 20,000."""
    early, late = memory_mb(2_000, 20_000, threads=2)
    assert late - early < GROWTH_MB
    assert late <= LIMIT_MB
