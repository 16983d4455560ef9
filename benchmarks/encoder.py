"""How many articles a second the shipped student encodes, beside its teacher in PyTorch."""

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np

from benchmarks.agreement import Agreement, agreement, check_vectors
from benchmarks.comparison import DIGITS, BenchmarkError, Spread, interleaved, ratios
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.teacher import TorchTeacher
from contract.article import Vectors
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from contract.encoder import BundleEncoder
from contract.mind import MindError
from service.articles import ArticleFileError, read_articles

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
# Two unrelated spaces over 1,000 texts share about 1 % of their nearest ten and do not correlate.
FLOOR = 0.5
COMPARED = 1_000
SEED = 5
PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "numpy")


class Encoder(Protocol):
    """Texts to vectors."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: (N,) -> (N, D), unit length."""
        ...


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "bundles" / "newsbert")
@click.option("--teacher", default=TEACHER, envvar="NEWSBERT_TEACHER", help="Hub id or folder.")
@click.option(
    "--texts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=ROOT / "samples" / "articles.jsonl",
    help="Articles to encode: news.tsv or .jsonl.",
)
@click.option("--count", default=2_000, show_default=True, help="At most so many articles.")
@click.option("--rounds", default=5, show_default=True, help="Legs of each encoder.")
@click.option("--threads", multiple=True, default=(1, 2), show_default=True, type=int)
@click.option("--floor", default=FLOOR, show_default=True, help="Least agreement of the two.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(
    *,
    bundle: Path,
    teacher: str,
    texts: Path,
    count: int,
    rounds: int,
    threads: tuple[int, ...],
    floor: float,
    out: Path,
) -> None:
    """Compare student and teacher on the same texts, in turns, answers checked first.

    Example: python -m benchmarks.encoder --teacher FOLDER --texts news.tsv
    """
    # Both tokenise on one thread; what is compared is the rest.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        opened = open_bundle(bundle)
        chosen = choose_texts(opened, texts, count)
        measured = [measure(opened, teacher, chosen, n, rounds, floor) for n in threads]
    except (BenchmarkError, BundleError, MindError, ArticleFileError) as error:
        click.echo(f"benchmarks.encoder: {error}", err=True)
        sys.exit(2)
    file = write_result(
        "encoder",
        figures={f"threads_{n}": m["figures"] for n, m in zip(threads, measured, strict=True)},
        runs=[run for m in measured for run in m["runs"]],
        settings={
            "model": opened.model,
            "teacher": measured[0]["teacher"],
            "texts": f"{texts.parent.name}/{texts.name}",
            "count": len(chosen),
            "max_tokens": opened.text.max_tokens,
            "rounds": rounds,
            "floor": floor,
        },
        pinning=f"cores {sorted(os.sched_getaffinity(0))}",
        packages=PACKAGES,
        folder=out,
    )
    click.echo(f"written to {file.name}")


def choose_texts(bundle: Bundle, file: Path, count: int) -> list[str]:
    """Return the texts of at most `count` articles, drawn with a fixed seed, none twice."""
    articles = read_articles(file, datetime.now(UTC))
    texts = sorted({bundle.text.text(article) for article in articles} - {""})
    order = np.random.default_rng(SEED).permutation(len(texts))[:count]
    return [texts[i] for i in order]


def measure(
    bundle: Bundle, teacher: str, texts: Sequence[str], threads: int, rounds: int, floor: float
) -> dict[str, Any]:
    """Check the answers, then time the encoders in turns; return figures and runs."""
    torch_teacher = TorchTeacher(teacher, max_tokens=bundle.text.max_tokens, threads=threads)
    student = BundleEncoder(bundle, threads=threads)
    encoders: dict[str, Encoder] = {"student": student, "teacher": torch_teacher}
    agreed = checked(encoders, texts, floor)
    timed = interleaved(
        rounds, {name: partial(articles_per_s, e, texts) for name, e in encoders.items()}
    )
    ratio = Spread.of(ratios(timed, "student", "teacher"))
    speeds = {name: Spread.of([one[name] for one in timed]) for name in encoders}
    for name, speed in speeds.items():
        click.echo(f"{threads} thread(s) {name:8} {speed} articles/s")
    click.echo(f"{threads} thread(s) ratio    {ratio}")
    return {
        "figures": {
            **{f"{name}_articles_per_s": speed.as_dict() for name, speed in speeds.items()},
            "ratio": ratio.as_dict(),
            "agreement": agreed.as_dict(),
        },
        "runs": [{"threads": threads, **one} for one in timed],
        "teacher": torch_teacher.description,
    }


def checked(encoders: dict[str, Encoder], texts: Sequence[str], floor: float) -> Agreement:
    """Encode everything once, which also warms up; raise BenchmarkError for a wrong answer."""
    vectors = {name: encoder.vectors(texts) for name, encoder in encoders.items()}
    for name, found in vectors.items():
        check_vectors(name, found, len(texts))
    agreed = agreement(vectors["student"][:COMPARED], vectors["teacher"][:COMPARED])
    if min(agreed.top10_overlap, agreed.correlation) < floor:
        raise BenchmarkError(f"the encoders do not agree: {agreed} is below {floor}")
    return agreed


def articles_per_s(encoder: Encoder, texts: Sequence[str]) -> float:
    """Time one pass over all texts, tokenising included."""
    started = time.perf_counter()
    encoder.vectors(texts)
    return round(len(texts) / (time.perf_counter() - started), DIGITS)


if __name__ == "__main__":
    main()
