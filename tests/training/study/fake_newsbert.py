"""Stand in for `newsbert`: train in three steps that survive a kill, or do what a test asks.

NEWSBERT_FAKE names a JSON file: {"<name of the run>": "fail" | "die" | "hang" | "empty" | "burn"}.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS = 3
FIGURES = {
    "line": "fake",
    "seed": 1,
    "models": {"student": {"recommendation": {"auc": 0.5, "impressions": 2}}},
    "units": {"student": {"auc": [0.25, 0.75]}},
}


def option(name: str) -> str:
    """Return the value that follows an option's name."""
    return sys.argv[sys.argv.index(name) + 1]


def main() -> None:
    """Continue where the steps that are written down end."""
    out = Path(option("--out"))
    orders = json.loads(Path(os.environ["NEWSBERT_FAKE"]).read_text())
    order = orders.get(out.name, "")
    out.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "train":
        shutil.copy(option("--config"), out / "config.toml")
    if order == "fail":
        sys.exit("newsbert: step 7: click is not finite")
    done = len((out / "steps").read_text().splitlines()) if (out / "steps").exists() else 0
    for step in range(done + 1, STEPS + 1):
        with (out / "steps").open("a") as file:
            file.write(f"{step} of process {os.getpid()}\n")
        sys.stderr.write(f"step {step}\n")
        if step == 1 and order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 1 and order == "hang":
            time.sleep(60)
    if order == "burn":
        burn = "import time\nwhile time.process_time() < 0.5: pass"
        subprocess.run([sys.executable, "-c", burn], check=True)
    if order != "empty":
        (out / "figures.json").write_text(json.dumps(FIGURES))


if __name__ == "__main__":
    main()
