"""The README's figures, and the amounts they were measured on, are those that their files hold."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import CANDIDATES, HISTORY
from contract.probing import MIN_BATCH_COSINE

ROOT = Path(__file__).parents[2]
TOPICS = ("topics/mind", "topics/huffpost")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MIB = 2**20
Figures = list[str]  # as a line shows them, in their order
# Not those in a name, such as BM25, int8 or nDCG@10.
NUMBER = r"(?<![\w@.,])\d+(?:,\d{3})*(?:\.\d+)?"


def read(name: str) -> Any:
    """Read a JSON file of the project."""
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def speed(benchmark: str, leg: str, figure: str) -> float:
    """Return a median of a benchmark's result file; without legs `leg` is empty."""
    figures = read(f"benchmarks/results/{benchmark}.json")["figures"]
    median: float = (figures[leg] if leg else figures)[figure]["median"]
    return median


def quality(row: str, figure: str) -> float:
    """Return a figure of the results of training, of a row that has no seeds."""
    by_name = {one["name"]: one for one in read("docs/results/training.json")["rows"]}
    value: float = by_name[row]["figures"]["-"][figure]
    return value


def of_rows(figures: tuple[str, ...], *rows: str) -> Figures:
    """Return rows' figures with three decimals, those of a row side by side."""
    return [f"{quality(row, figure):.3f}" for row in rows for figure in figures]


def encoder() -> Figures:
    """Return articles a second, and the teacher's."""
    ours, ratio, teacher = (
        speed("encoder", "threads_1", name)
        for name in ("student_articles_per_s", "ratio", "teacher_articles_per_s")
    )
    return [f"{ours:,.0f}", f"{ratio:.1f}", f"{teacher:.0f}"]


def leg(name: str, figure: str = "articles_per_s") -> float:
    """Return a figure of one leg of the encoder benchmark, on one thread."""
    value: float = encoder_result()["threads_1"]["legs"][name][figure]["median"]
    return value


def encoder_result() -> Any:
    """Return the figures of the encoder benchmark."""
    return read("benchmarks/results/encoder.json")["figures"]


def peers() -> Figures:
    """Return how public packages encode with the same weights."""
    int8 = encoder_result()["answers"]["fastembed-student-int8"]
    return [
        f"{leg('fastembed-student', 'ours_to_it'):.1f}",
        f"{leg('fastembed-student'):.0f}",
        f"{leg('fastembed-student-int8'):.0f}",
        f"{int8['mean_cosine']:.3f}",
    ]


def alone() -> Figures:
    """Return the milliseconds of one headline."""
    p50 = {name: one["p50_ms"] for name, one in encoder_result()["alone"]["headline"].items()}
    peer = "fastembed-student"
    names = ("ours-2", peer, f"{peer}-int8", "sentence-transformers-student")
    return [f"{p50[name]:.2f}" for name in names]


def encoder_process() -> Figures:
    """Return seconds to load, megabytes, and the share of the ceiling in percent."""
    process, ceiling = encoder_result()["process"], encoder_result()["ceiling"]
    share = ceiling["shares"]["ours-2"]["share"]
    return [f"{process['load_s']['median']:.2f}", f"{process['peak_mb']:.0f}", f"{share:.0%}"[:-1]]


def served(leg: str, decimals: int) -> Figures:
    """Return requests a second and their share of the yardstick."""
    share = speed("service", leg, "ratio")
    return [f"{speed('service', leg, 'service_requests_per_s'):,.0f}", f"{share:.{decimals}f}"]


def soaked() -> Figures:
    """Return mebibytes at the end, their ratio to the level after warm-up, and the peak."""
    figures = read("benchmarks/results/soak.json")["figures"]
    ratio = figures["last_to_level"]
    return [f"{figures['last_mib']:.1f}", f"{ratio:.2f}", f"{figures['peak_mib']:.0f}"]


def fed(store: str) -> Figures:
    """Return events a second and the ratio of the tails; of Redis what a reader takes up too."""
    figures, sent = read("benchmarks/results/feedback.json")["figures"][store], settings("feedback")
    rate, ratio = figures["events_per_s"]["median"], f"{figures['p99_ratio']['median']:.2f}"
    if store == "sqlite":
        return [f"{rate:,.0f}", f"{sent['rate']:.0f}", ratio]
    size = f"{figures['redis_bytes_per_reader_mean'] / 1e3:.1f}"
    return [f"{rate:,.0f}", ratio, size, f"{sent['events'] / sent['readers']:.0f}"]


def finding(mode: str, retrieval: str = "auto") -> str:
    """Return the nDCG@10 of a mode of search over HTTP, by default as the service ships."""
    means = read("benchmarks/results/finding.json")["figures"][retrieval]["mean_low_high"]
    return f"{means[mode]['ndcg10'][0]:.3f}"


def parity(part: str) -> Any:
    """Return what the shipped bundle's manifest says of a precision, or of batches."""
    return read("bundles/newsbert/manifest.json")["quality"]["parity"][part]


def expected() -> dict[str, Figures]:
    """Return the figures of each line, by the start of its first cell."""
    auc = [f"{parity('int8')['auc']:.3f}", f"{parity('torch')['auc']:.3f}"]
    ndcg = [f"{parity('int8')['ndcg10']:.3f}", f"{parity('torch')['ndcg10']:.3f}"]
    search = ("search/recall10", "search/ndcg10")
    return {
        "recommendation: impression AUC": [
            *auc,
            *of_rows(("auc",), "frozen-teacher", "popularity"),
        ],
        "the same, nDCG@10": [*ndcg, *of_rows(("ndcg10",), "frozen-teacher", "popularity")],
        "topics: accuracy": of_rows(TOPICS, "shipped", "frozen-teacher"),
        "search: recall@10": of_rows(search, "shipped", "frozen-teacher", "bm25"),
        "graphs, tokenizer": [f"{parity(p)['size_bytes'] / 1e6:.1f}" for p in ("int8", "fp32")],
        "a text alone": [f"{parity('batch_cosine'):.5f}", f"{MIN_BATCH_COSINE}"],
        "encoding": encoder(),
        "the same weights": peers(),
        "one headline": alone(),
        "encoder process": encoder_process(),
        "recommendations, 432": served("samples", 2),
        "recommendations, 65,000": [*served("default_ivf", 3), *served("default_exact", 3)],
        "the same without": [*served("plain_ivf", 3), *served("plain_exact", 3)],
        "`/v1/rank`": served("rank_ivf", 3),
        "search over HTTP": [
            finding("hybrid"),
            finding("hybrid", "exact"),
            finding("dense"),
            finding("bm25"),
        ],
        "200,000 events": fed("sqlite"),
        "the same events": fed("redis"),
        "memory of the service": soaked(),
        "joint learning": [
            f"{speed('training', '', 'ours_examples_per_s'):.0f}",
            f"{speed('training', '', 'ours_to_slots'):.1f}",
            f"{speed('training', '', 'ours_to_padded'):.1f}",
        ],
        "reading a log": [
            f"{speed('reading', '', 'ours_s'):.1f}",
            f"{speed('reading', '', 'ours_peak_mib') * MIB / 1e9:.1f}",
            f"{speed('reading', '', 'ours_to_polars'):.0f}",
        ],
    }


def settings(benchmark: str) -> Any:
    """Return what a benchmark was told."""
    return read(f"benchmarks/results/{benchmark}.json")["settings"]


def amounts() -> dict[str, Figures]:
    """Return what each line was measured on, where its first cell says that."""
    served, soaked, log = settings("service"), settings("soak"), settings("reading")
    found, catalogue = settings("finding"), f"{served['articles']:,}"
    samples = len((ROOT / "samples/articles.jsonl").read_text("utf-8").splitlines())
    rows = settings("training")["distillation"]["rows_per_step"]
    return {
        "recommendation: impression AUC": [f"{parity('int8')['impressions']}"],
        "topics: accuracy": [f"{quality('shipped', f'{topic}/texts'):,}" for topic in TOPICS],
        "search: recall@10": [f"{found['queries']}", f"{found['articles']:,}"],
        "encoding": [f"{encoder_result()['threads_1']['texts']:,}"],
        "recommendations, 432": [f"{samples}"],
        "recommendations, 65,000": [catalogue, f"{HISTORY}"],
        "`/v1/rank`": [f"{HISTORY}", f"{CANDIDATES}"],
        "search over HTTP": [f"{found['queries']}"],
        "200,000 events": [f"{settings('feedback')['events']:,}"],
        "the same events": [],
        "memory of the service": [f"{soaked['requests']:,}", f"{soaked['articles']:,}"],
        "joint learning": [f"{rows}"],
        "reading a log": [f"{log['impressions'] / 1e6:.1f}", f"{log['mib'] * MIB / 1e9:.1f}"],
    }


def cells_of(start: str) -> tuple[str, str]:
    """Return the first cell of the table's line that begins so, and the others."""
    found = [line for line in README.splitlines() if line.startswith(f"| {start}")]
    assert len(found) == 1, start
    first, others = found[0].split("|", 2)[1:]
    return first, others


@pytest.mark.parametrize("start", list(expected()))
def test_a_line_holds_the_figures_of_its_file(start: str) -> None:
    """They stand in their order, rounded as the line shows them, and no others."""
    assert re.findall(NUMBER, cells_of(start)[1]) == expected()[start]


@pytest.mark.parametrize("start", list(expected()))
def test_a_line_says_what_it_was_measured_on(start: str) -> None:
    """Its first cell holds the amounts of its file and no other number."""
    assert re.findall(NUMBER, cells_of(start)[0]) == amounts().get(start, [])


def test_no_figure_without_a_file() -> None:
    """Every line of the two tables is checked above."""
    tables = README.partition("## Figures")[2].partition("## More")[0]
    lines = [
        line for line in tables.splitlines() if re.match(r"\| (?!the bundle that|speed|---)", line)
    ]
    assert all(any(line.startswith(f"| {start}") for start in expected()) for line in lines), lines
