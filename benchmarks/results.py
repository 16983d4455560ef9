"""The result file: figures, every run behind them, and what it takes to repeat them."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "results"


def write_result(
    name: str,
    *,
    figures: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    pinning: str,
    packages: Sequence[str],
    folder: Path = FOLDER,
) -> Path:
    """Write `<name>.json`: the figures and all runs they come from, with machine and versions."""
    content = {
        "benchmark": name,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(name, sys.argv[1:]),
        "commit": commit(),
        "machine": machine(),
        "pinning": pinning,
        "python": platform.python_version(),
        "packages": {package: metadata.version(package) for package in packages},
        "settings": dict(settings),
        "figures": dict(figures),
        "runs": [dict(run) for run in runs],
    }
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    # A NaN is no figure: refuse it here rather than publish it.
    target.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")
    return target


def read_figures(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return the figures of an earlier run, none where there was none."""
    target = folder / f"{name}.json"
    if not target.is_file():
        return {}
    figures: dict[str, Any] = json.loads(target.read_text("utf-8"))["figures"]
    return figures


def command_line(name: str, arguments: Sequence[str]) -> str:
    """Return the command without this machine's folders: of an absolute path, only its name."""
    words = [Path(word).name if word.startswith("/") else word for word in arguments]
    return " ".join(["python", "-m", f"benchmarks.{name}", *words])


def machine() -> dict[str, Any]:
    """Return the processor, the cores this process may use, memory, kernel, and how busy it was."""
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text("utf-8")),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system() + " " + platform.release(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def cpu_model(cpuinfo: str) -> str:
    """Return the model's name with family and model numbers: virtual machines shorten the name."""
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def commit() -> dict[str, Any]:
    """Return the revision measured and whether files differed from it; unknown outside git."""
    revision = _git("rev-parse", "HEAD")
    # Result files do not change what is measured.
    changes = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {"revision": revision, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "--no-optional-locks", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
