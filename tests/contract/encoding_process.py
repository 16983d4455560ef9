"""A process that only encodes, as a serving process would, and tells how much memory that took."""

import argparse
import json
import random
import sys
from pathlib import Path

from contract import encoder
from contract.bundle import open_bundle

CALL = 500
WORDS = ("senate", "passes", "budget", "after", "an", "all-night", "session", "as", "port", "end")


def highest_mb() -> float:
    """Return the most memory that was resident at once, in MB."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1_024 / 1e6


def some_texts(count: int) -> list[str]:
    """Make texts of 1 to 80 words in no order of length, the same ones each time."""
    drawn = random.Random(0)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(1, 80))) for _ in range(count)]


def main() -> None:
    """Encode so many texts, and print the memory each time that a number of them is done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens-per-batch", type=int, default=encoder.TOKENS_PER_BATCH)
    chosen = parser.parse_args()
    encoder.TOKENS_PER_BATCH = chosen.tokens_per_batch
    encode = encoder.BundleEncoder(open_bundle(chosen.bundle), threads=chosen.threads).vectors
    texts, done, memory = some_texts(max(chosen.counts)), 0, []
    for count in chosen.counts:
        for start in range(done, count, CALL):
            encode(texts[start : min(start + CALL, count)])
        done = count
        memory.append(highest_mb())
    heavy = sorted({"torch", "transformers", "faiss", "redis"} & set(sys.modules))
    print(json.dumps({"memory_mb": memory, "heavy": heavy}))  # noqa: T201


if __name__ == "__main__":
    main()
