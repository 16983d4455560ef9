"""How much of the best the index finds behind filters, and what a search costs beside exact.

Ten best after full scoring of R rows, by the index against by exact search: for shares of the
lists, kinds of filters and how much these leave, on a made-up catalogue and a real one. The rule
that ships must find 98 % everywhere, or nothing is written.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from statistics import median
from typing import Any

import click
import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison import DIGITS, BenchmarkError, reported
from benchmarks.depth import RETRIEVED, by_index, losses, top
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.shelves import KINDS, SEED, Shelf, left_by, made_up, real
from contract.article import Mask
from contract.bundle import open_bundle
from contract.encoder import BundleEncoder
from service.adapters.faiss_index import FEWEST_LISTS, SHARE, FaissIndexBuilder
from service.adapters.faiss_search import FaissSearch
from service.retrieval import Retrieval
from service.scores import Reader, Scorer
from service.snapshot import Snapshot

SELECTIVITIES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# Of the lists, and what ships: a share that is never fewer than so many lists.
BUILDERS = {
    **{
        f"{s:g}": FaissIndexBuilder(share=s, fewest_lists=1)
        for s in (1 / 8, 1 / 4, 3 / 8, 1 / 2, 1)
    },
    "rule": FaissIndexBuilder(),
}
LEAST_RECALL = 0.98
MICRO = 1e6
PACKAGES = ("faiss-cpu", "numpy", "onnxruntime")
Figures = dict[str, Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Search:
    """One request: a reader, the rows that a filter leaves, and the true ten best of them."""

    reader: Reader
    query: NDArray[np.float32]  # (D,)
    eligible: Mask  # (N,)
    best: Rows


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Adds real articles.")
@click.option(
    "--bundle", "path", type=click.Path(path_type=Path), default=ROOT / "bundles/newsbert"
)
@click.option("--readers", default=100, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, data: Path | None, path: Path, readers: int, out: Path) -> None:
    """Search both catalogues behind every filter, exactly and by index.

    Example: python -m benchmarks.retrieval --data DATA
    """
    faiss.omp_set_num_threads(1)
    bundle = open_bundle(path)
    scorer = Scorer(BundleEncoder(bundle).click_model)
    shelves = [made_up(bundle, readers), *(real(bundle, readers, data) if data else [])]
    with reported("retrieval"):
        cells = [cell for shelf in shelves for cell in measured(shelf, scorer)]
        check_rule(cells)
    figures = {
        "by_share": by_share(cells),
        "by_terms": [row for shelf in shelves for row in with_terms(shelf, scorer)],
        "depth": [row for shelf in shelves for row in losses(shelf, scorer)],
    }
    for row in chain(*figures.values()):
        click.echo(row)
    file = write_result(
        "retrieval",
        figures=figures,
        runs=cells,
        settings={
            "articles": {shelf.name: shelf.snapshot.count for shelf in shelves},
            "readers": readers,
            "retrieved": RETRIEVED,
            "share": SHARE,
            "fewest_lists": FEWEST_LISTS,
            "least_recall": LEAST_RECALL,
        },
        pinning="one thread; CPU time of it",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")


def measured(shelf: Shelf, scorer: Scorer) -> Iterator[Figures]:
    """Search one catalogue behind every filter with every share of the lists."""
    vectors = shelf.snapshot.vectors
    first = FaissIndexBuilder().build(vectors, None)
    snapshots = {
        name: replace(shelf.snapshot, index=builder.build(vectors, first))
        for name, builder in BUILDERS.items()
    }
    for kind, selectivity in product(KINDS, SELECTIVITIES):
        asked = list(searches(shelf, scorer, kind, selectivity))
        exact_us = cpu_us(Retrieval(FaissSearch(), "exact"), shelf.snapshot, asked)
        shares = {name: figures(one, scorer, asked) for name, one in snapshots.items()}
        click.echo(f"{shelf.name} {kind} {selectivity:g}: exact {exact_us} us, {shares['rule']}")
        yield {
            "catalogue": shelf.name,
            "kind": kind,
            "selectivity": selectivity,
            "exact_us": exact_us,
            "shares": shares,
        }


def searches(shelf: Shelf, scorer: Scorer, kind: str, selectivity: float) -> Iterator[Search]:
    """Make a request of each reader, with a filter of its own; what was read is left out."""
    random, exact = np.random.default_rng(SEED), Retrieval(FaissSearch(), "exact")
    for history in shelf.histories:
        reader = scorer.reader(shelf.snapshot, history)
        query = scorer.retrieval_query(reader)
        eligible = left_by(kind, selectivity, shelf.snapshot, random)
        eligible[history] = False
        rows = exact.rows(shelf.snapshot, query, eligible, RETRIEVED)
        best, _ = top(shelf.snapshot, scorer, reader, rows)
        yield Search(reader, query, eligible, best)


def with_terms(shelf: Shelf, scorer: Scorer) -> list[Figures]:
    """Compare what an index and exact search retrieve where freshness and clicks count too."""
    index = FaissIndexBuilder().build(shelf.snapshot.vectors, None)
    indexed = replace(shelf, snapshot=replace(shelf.snapshot, index=index))
    return by_index(indexed, scorer, (Retrieval(FaissSearch()), Retrieval(FaissSearch(), "exact")))


def figures(snapshot: Snapshot, scorer: Scorer, asked: Sequence[Search]) -> Figures:
    """Return recall of the true ten best, and the CPU time of a search."""
    retrieval = Retrieval(FaissSearch())
    recalls = []
    for one in asked:
        rows = retrieval.rows(snapshot, one.query, one.eligible, RETRIEVED)
        check_rows(rows, one.eligible)
        found, _ = top(snapshot, scorer, one.reader, rows)
        recalls.append(np.isin(one.best, found).mean() if len(one.best) else 1.0)
    us = cpu_us(retrieval, snapshot, asked)
    return {"recall10": round(float(np.mean(recalls)), DIGITS), "us": us}


def check_rows(rows: Rows, eligible: Mask) -> None:
    """Raise BenchmarkError unless the rows are different, eligible and as many as there are."""
    wanted = min(RETRIEVED, int(np.count_nonzero(eligible)))
    if len(np.unique(rows)) != wanted or len(rows) != wanted or not eligible[rows].all():
        raise BenchmarkError(f"{len(rows)} rows are not {wanted} different eligible ones")


def cpu_us(retrieval: Retrieval, snapshot: Snapshot, asked: Sequence[Search]) -> float:
    """Return the median CPU time of a search by this thread, in microseconds."""
    spent = []
    for one in asked:
        started = time.thread_time()
        retrieval.rows(snapshot, one.query, one.eligible, RETRIEVED)
        spent.append(time.thread_time() - started)
    return round(MICRO * median(spent), 1)


def by_share(cells: Sequence[Figures]) -> list[Figures]:
    """Return the worst cell and the time without a filter, for each catalogue and share."""
    names = dict.fromkeys(cell["catalogue"] for cell in cells)
    return [
        worst([cell for cell in cells if cell["catalogue"] == name], share)
        for name, share in product(names, BUILDERS)
    ]


def worst(cells: Sequence[Figures], share: str) -> Figures:
    """Return where a share of the lists finds least, of one catalogue."""
    least = min(cells, key=lambda cell: float(cell["shares"][share]["recall10"]))
    return {
        "catalogue": least["catalogue"],
        "share": share,
        "least_recall10": least["shares"][share]["recall10"],
        "where": f"{least['kind']}, {least['selectivity']:.1%}",
        "unfiltered_us": cells[0]["shares"][share]["us"],
        "exact_us": cells[0]["exact_us"],
    }


def check_rule(cells: Sequence[Figures]) -> None:
    """Raise BenchmarkError for the first cell where the rule that ships finds too little."""
    for cell in cells:
        recall = cell["shares"]["rule"]["recall10"]
        if recall < LEAST_RECALL:
            where = f"{cell['catalogue']}, {cell['kind']} {cell['selectivity']:.1%}"
            raise BenchmarkError(f"{where}: recall@10 is {recall}, below {LEAST_RECALL}")


if __name__ == "__main__":
    main()
