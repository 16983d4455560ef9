"""How well `/v1/search` finds what editors linked to a question: by vector, by words, by both.

What is found by vector with exact search must be what `contract.measuring` measures offline; the
search by words stands beside bm25s used as its documentation says.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import click

from benchmarks.comparison import DIGITS, BenchmarkError, reported
from benchmarks.load import require
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.servers import Server, running
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from contract.encoder import BundleEncoder
from contract.intervals import interval, paired_interval
from contract.lines import MalformedFile
from contract.measuring import model_predictor
from contract.search import TOP, Found, Query, SearchFolder, query_values, read_search
from service.adapters.stores import open_store
from service.errors import ServiceError
from service.refresh import Refresher

MODES = ("dense", "bm25", "hybrid")
RETRIEVALS = ("exact", "auto")
FIGURES = ("recall10", "ndcg10")
BASELINE = "bm25s"
PAIRS = (("hybrid", "dense"), ("hybrid", "bm25"), ("dense", "bm25"), ("bm25", BASELINE))
FOUR_DECIMALS = 5e-5
PACKAGES = ("faiss-cpu", "bm25s", "onnxruntime", "numpy")

Ask: TypeAlias = Callable[[Mapping[str, Any]], tuple[int, bytes]]
Values: TypeAlias = dict[str, list[float]]  # by figure, one for each query


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Has `search/`.")
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "bundles" / "newsbert")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(*, data: Path, bundle: Path, out: Path) -> None:
    """Serve the articles of DATA/search and ask each query of its `dev.tsv` in every mode.

    Example: python -m benchmarks.finding --data DATA
    """
    with reported("finding", BundleError, MalformedFile, ServiceError, OSError):
        require("taskset")
        folder, opened = read_search(data / "search"), open_bundle(bundle)
        found = found_by_service(folder, bundle, opened)
        offline = {"dense": found_by_vector(folder, opened), BASELINE: found_by_bm25s(folder)}
        check_dense(folder.dev, found["exact"]["dense"], offline["dense"])
    legs = {
        retrieval: values(folder.dev, {**by_mode, BASELINE: offline[BASELINE]})
        for retrieval, by_mode in found.items()
    }
    same = overlap(found["auto"]["dense"], found["exact"]["dense"])
    file = write_result(
        "finding",
        figures={**{name: figures(one) for name, one in legs.items()}, "index_overlap10": same},
        runs=runs(legs),
        settings={
            "model": opened.model,
            "namespace": opened.namespace,
            "articles": len(folder.articles),
            "queries": len(folder.dev),
            "collapse": False,
            "store": "sqlite",
        },
        pinning="one request at a time: what is found depends on no timing",
        packages=PACKAGES,
        folder=out,
    )
    tell(legs)
    click.echo(f"written to {file.name}")


def found_by_service(
    folder: SearchFolder, path: Path, bundle: Bundle
) -> dict[str, dict[str, Found]]:
    """Return what a running service finds, by retrieval and mode."""
    found: dict[str, dict[str, Found]] = {}
    with TemporaryDirectory() as place:
        url = filled(Path(place), folder, bundle)
        serve = ("newsbert", "serve", "--bundle", str(path.absolute()), "--store", url)
        for retrieval in RETRIEVALS:
            log = Path(place, f"{retrieval}.log")
            with running(serve, ready="/health/ready", log=log, retrieval=retrieval) as server:
                ask = asking(server)
                found[retrieval] = {mode: ids_found(ask, folder.dev, mode) for mode in MODES}
    return found


def filled(place: Path, folder: SearchFolder, bundle: Bundle) -> str:
    """Bring the articles into a store as `newsbert refresh` does; return its URL."""
    url = f"sqlite:///{place / 'store.sqlite'}"
    store = open_store(url)
    try:
        encoder = BundleEncoder(bundle)
        refresher = Refresher(store, encoder, bundle.text, bundle.namespace, time.time)
        written = sum(step.written for step in refresher.refresh(folder.articles))
    finally:
        store.close()
    if written != len(folder.articles):
        raise BenchmarkError(f"{written} of {len(folder.articles)} articles were written")
    return url


def asking(server: Server) -> Ask:
    """Return what sends one search to a server."""
    return lambda body: server.post("/v1/search", json.dumps(body).encode())


def ids_found(ask: Ask, queries: Sequence[Query], mode: str) -> list[list[str]]:
    """Ask every query in a mode; return the ids found, best first.

    Raise BenchmarkError for an answer that is not of that mode, or is less than it could be.
    """
    return [_ids(ask, query, mode) for query in queries]


def found_by_vector(folder: SearchFolder, bundle: Bundle) -> Found:
    """Return what the offline evaluation finds."""
    encoder = BundleEncoder(bundle)
    model = model_predictor(encoder, encoder.click_model, bundle.text, bundle.topics)
    assert model.find is not None
    return model.find(folder)


def found_by_bm25s(folder: SearchFolder) -> Found:
    """Return what bm25s finds over the same texts."""
    from training.baselines.lexical import bm25

    find = bm25().find
    assert find is not None
    return find(folder)


def check_dense(queries: Sequence[Query], online: Found, offline: Found) -> None:
    """Raise BenchmarkError unless both figures are the same to four decimals."""
    both = (query_values(queries, online), query_values(queries, offline))
    for name in FIGURES:
        one, other = (sum(by_name[name]) / len(queries) for by_name in both)
        if abs(one - other) > FOUR_DECIMALS:
            raise BenchmarkError(f"dense {name} is {one:.5f} over HTTP and {other:.5f} offline")


def overlap(ours: Found, theirs: Found) -> float:
    """Return the mean share of what the one found that the other found too."""
    shares = [len({*a} & {*b}) / len(b) for a, b in zip(ours, theirs, strict=True) if b]
    return round(sum(shares) / len(shares), DIGITS)


def values(queries: Sequence[Query], found: Mapping[str, Found]) -> dict[str, Values]:
    """Return each query's figures, by who found the articles."""
    return {name: query_values(queries, ids) for name, ids in found.items()}


def runs(legs: Mapping[str, Mapping[str, Values]]) -> list[dict[str, Any]]:
    """List each query's figures by retrieval and mode: what the intervals are made of."""
    return [
        {"retrieval": retrieval, "mode": mode, **{name: rounded(one[name]) for name in FIGURES}}
        for retrieval, by_mode in legs.items()
        for mode, one in by_mode.items()
    ]


def figures(legs: Mapping[str, Values]) -> dict[str, Any]:
    """Return each mode's means and the differences of pairs, with 95 % intervals."""
    means = {
        mode: {name: rounded(interval(one[name])) for name in FIGURES} for mode, one in legs.items()
    }
    differences = {
        f"{ours} - {theirs}": {
            name: rounded(paired_interval(legs[ours][name], legs[theirs][name])) for name in FIGURES
        }
        for ours, theirs in PAIRS
    }
    return {"mean_low_high": means, "difference_low_high": differences}


def rounded(numbers: Sequence[float]) -> list[float]:
    """Round for the result file."""
    return [round(float(number), DIGITS) for number in numbers]


def tell(legs: Mapping[str, Mapping[str, Values]]) -> None:
    """Print the means."""
    for retrieval, by_mode in legs.items():
        for mode, one in by_mode.items():
            said = ("{} {:.4f} [{:.4f}, {:.4f}]".format(n, *interval(one[n])) for n in FIGURES)
            click.echo(f"{retrieval:5} {mode:6} {', '.join(said)}")


def _ids(ask: Ask, query: Query, mode: str) -> list[str]:
    # A story has one place in an answer by default; the figures are of articles.
    body = {"query": query.text, "mode": mode, "n": TOP, "collapse": False, "timeout_ms": 10_000}
    status, raw = ask(body)
    if status != 200:
        raise BenchmarkError(f"query {query.id} in mode {mode} is answered with {status}")
    answer = json.loads(raw)
    right = mode if answer["items"] else "none"
    if answer["strategy"] != right or answer["degraded"]:
        said = f"{answer['strategy']}, {answer['degraded']}"
        raise BenchmarkError(f"query {query.id} in mode {mode} is answered by {said}")
    return [item["id"] for item in answer["items"]]


if __name__ == "__main__":
    main()
