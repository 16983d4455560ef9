"""How long a MIND-large-sized folder takes to become arrays, beside polars' bare read of it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.comparison import DIGITS, BenchmarkError, Spread, interleaved, ratios, reported
from benchmarks.memory import memory_mib
from benchmarks.mind_large import Impressions, Tally, write_mind
from benchmarks.results import FOLDER, ROOT, write_result
from contract.mind import MindFolder, read_folder
from training.click_log import ClickLog, read_click_log

SEED = 5
MIB = 2**20
PACKAGES = ("numpy", "polars", "pydantic")
FILES = ("news.tsv", "behaviors.tsv")
Figures = dict[str, Any]


@click.command()
@click.option("--articles", default=160_000, show_default=True)
@click.option("--impressions", default=2_200_000, show_default=True)
@click.option("--slice", "sliced", default=20_000, show_default=True, help="Compared by rules.")
@click.option("--rounds", default=3, show_default=True, help="Legs of each reader.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, articles: int, impressions: int, sliced: int, rounds: int, out: Path) -> None:
    """Write a seeded folder to a temporary directory, check what is read of it, then time it.

    Example: python -m benchmarks.reading --rounds 3
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "large"
        written = write_mind(folder, articles=articles, impressions=impressions, seed=SEED)
        with reported("reading"):
            checks = checked(folder, written, cut(folder, sliced))
        bytes_read = sum((folder / name).stat().st_size for name in FILES)
        runs = interleaved(rounds, {name: partial(in_a_child, name, folder) for name in LEGS})
    figures = summary(runs)
    for name, spread in figures.items():
        click.echo(f"{name:20} {spread['median']:,.4g}")
    file = write_result(
        "reading",
        figures={**figures, **checks},
        runs=runs,
        settings={
            "articles": articles,
            "impressions": impressions,
            "mib": round(bytes_read / MIB, 1),
            "seed": SEED,
            "slice": sliced,
            "rounds": rounds,
            "page_cache": "warm",
        },
        pinning=f"cores {sorted(os.sched_getaffinity(0))}",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")


def cut(folder: Path, count: int) -> Path:
    """Write a folder with the same articles and the first impressions beside the whole one."""
    target = folder.parent / "slice"
    target.mkdir()
    (target / FILES[0]).hardlink_to(folder / FILES[0])
    with (folder / FILES[1]).open("rb") as whole, (target / FILES[1]).open("wb") as part:
        part.writelines(islice(whole, count))
    return target


def checked(folder: Path, written: Tally, part: Path) -> Figures:
    """Compare the whole with what was written and a part with the rules; return the rules' speed.

    Raises BenchmarkError for any difference.
    """
    if tally(read_click_log(folder)) != written.as_dict():
        raise BenchmarkError("the arrays are not what was written")
    started = time.perf_counter()
    by_rules = read_folder(part)
    seconds = time.perf_counter() - started
    if not same(read_click_log(part), by_rules):
        raise BenchmarkError("the arrays are not what contract.mind reads")
    return {"slice_by_rules_s": round(seconds, DIGITS)}


def tally(log: ClickLog) -> Figures:
    """Add up what was read as the writer adds up what it writes."""
    whole = Tally()
    lengths = (np.diff(log.history_offsets), np.diff(log.candidate_offsets))
    whole.add(Impressions(log.history, lengths[0], log.candidates, lengths[1], log.clicks))
    return whole.as_dict()


def same(log: ClickLog, by_rules: MindFolder) -> bool:
    """Tell whether arrays say what objects say."""
    numbers = {article.id: number for number, article in enumerate(by_rules.articles)}
    shown = by_rules.impressions
    return (
        log.articles == by_rules.articles
        and log.report == by_rules.report
        and list(log.ids()) == [i.id for i in shown]
        and np.diff(log.history_offsets).tolist() == [len(i.history) for i in shown]
        and np.diff(log.candidate_offsets).tolist() == [len(i.candidates) for i in shown]
        and log.history.tolist() == [numbers.get(a, -1) for i in shown for a in i.history]
        and log.candidates.tolist() == [numbers.get(a, -1) for i in shown for a in i.candidates]
        and log.clicks.tolist() == [click for i in shown for click in i.clicks]
    )


def read_with_polars(folder: Path) -> object:
    """Read the columns of both files as strings and do nothing with them."""
    import polars as pl

    read = partial(pl.read_csv, separator="\t", has_header=False, quote_char=None)
    return [read(folder / name, infer_schema=False) for name in FILES]


LEGS: dict[str, Callable[[Path], object]] = {"ours": read_click_log, "polars": read_with_polars}


def in_a_child(name: str, folder: Path) -> Figures:
    """Run a leg in a process of its own: wall and CPU seconds of the reading, peak memory."""
    code = "import sys; from benchmarks import reading; reading.leg(*sys.argv[1:])"
    command = [sys.executable, "-c", code, name, str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def leg(name: str, folder: str) -> None:
    """Read once and print the figures: what a child does."""
    if name == "polars":
        import_module(name)  # which is no part of reading
    wall, cpu = time.perf_counter(), time.process_time()
    held = LEGS[name](Path(folder))
    figures = {
        "s": round(time.perf_counter() - wall, DIGITS),
        "cpu_s": round(time.process_time() - cpu, DIGITS),
        "peak_mib": memory_mib()["peak_mib"],
    }
    del held
    print(json.dumps(figures))


def summary(runs: list[dict[str, Figures]]) -> Figures:
    """Summarise seconds, memory and the ratio of neighbours in time.

    On a busy machine the CPU seconds of all threads tell more than the wall.
    """
    spreads = {
        f"{name}_{unit}": Spread.of([run[name][unit] for run in runs])
        for name in LEGS
        for unit in ("s", "cpu_s", "peak_mib")
    }
    seconds = [{name: run[name]["s"] for name in LEGS} for run in runs]
    spreads["ours_to_polars"] = Spread.of(ratios(seconds, "ours", "polars"))
    return {name: spread.as_dict() for name, spread in spreads.items()}


if __name__ == "__main__":
    main()
