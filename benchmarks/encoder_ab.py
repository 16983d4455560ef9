"""Whether graph B encodes faster than graph A: by CPU time on the same batches, run in turns."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.agreement import check_vectors
from benchmarks.comparison import DIGITS, BenchmarkError, reported
from benchmarks.cpu import pinned
from benchmarks.encoder_pairs import Pairs, Speedup, time_pairs
from benchmarks.encoder_texts import distinct_texts, draw_batches, file_names, texts_option
from benchmarks.results import (
    ROOT,
    command_line,
    commit,
    machine,
    read_figures,
    write_result,
)
from contract.article import Vectors
from contract.bundle import NEWS_ENCODER, TOKENIZER, Bundle, open_bundle
from contract.bundle_errors import BundleError
from contract.encoder import open_session
from contract.mind import MindError
from contract.tokens import TextTokenizer, Tokens
from contract.vectors import cosine
from service.articles import ArticleFileError

Run = Callable[[Tokens], Vectors]
PACKAGES = ("onnxruntime", "numpy", "tokenizers")


@dataclass(frozen=True)
class Comparison:
    """B against A, the noise of A against A, what a text costs, how alike the vectors are."""

    speedup: Speedup
    noise: Speedup
    us_per_text: tuple[float, float]
    cosine: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "b_to_a": self.speedup.as_dict(),
            "a_to_a": self.noise.as_dict(),
            "verdict": self.speedup.verdict,
            **dict(zip(("a_us_per_text", "b_us_per_text"), self.us_per_text, strict=True)),
            **dict(zip(("mean_cosine", "min_cosine"), self.cosine, strict=True)),
        }


@click.command()
@click.argument("a", type=click.Path(path_type=Path, exists=True))
@click.argument("b", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    default=ROOT / "bundles" / "newsbert",
    help="Whose texts and tokenizer are used.",
)
@texts_option
@click.option("--pairs", default=400, show_default=True, help="Batches to compare on.")
@click.option("--tokens", default=256, show_default=True, help="Token positions of a batch.")
@click.option("--label", default="", help="Name of the comparison in the file.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of encoder_ab.json.")
def main(
    *,
    a: Path,
    b: Path,
    bundle: Path,
    texts: tuple[Path, ...],
    pairs: int,
    tokens: int,
    label: str,
    out: Path | None,
) -> None:
    """Compare B with A, each a bundle or a news_encoder.onnx; exit 2 on a machine too noisy.

    Example: python -m benchmarks.encoder_ab bundles/newsbert new.onnx --texts news.tsv
    """
    with reported("encoder_ab", BundleError, MindError, ArticleFileError):
        opened = open_bundle(bundle)
        batches = choose_batches(opened, distinct_texts(opened.text, texts), tokens, pairs)
        first, second = read_graph(a), read_graph(b)
        with pinned(1):
            found = compare(lambda: run_of(first), lambda: run_of(second), batches)
    show(found)
    if out is not None:
        settings = {"pairs": pairs, "tokens": tokens, "texts": file_names(texts)}
        keep(found, label or f"{b.name} to {a.name}", settings, out)


def keep(found: Comparison, label: str, settings: Mapping[str, Any], folder: Path) -> Path:
    """Write a comparison beside those of other labels, each with what it takes to repeat it."""
    origin = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line("encoder_ab", sys.argv[1:]),
        "commit": commit(),
        "machine": machine(),
        "settings": dict(settings),
    }
    known = read_figures("encoder_ab", folder)
    return write_result(
        "encoder_ab",
        figures={**known, label: {**found.as_dict(), "origin": origin}},
        runs=[],
        # Those of each comparison stand beside it; what the file says is of the latest.
        settings={},
        pinning="one core, CPU time of the thread",
        packages=PACKAGES,
        folder=folder,
    )


def read_graph(path: Path) -> bytes:
    """Return the news encoder of a bundle, or the file itself."""
    return open_bundle(path).file(NEWS_ENCODER) if path.is_dir() else path.read_bytes()


def choose_batches(bundle: Bundle, texts: Sequence[str], tokens: int, count: int) -> list[Tokens]:
    """Cut all texts into batches of like length and draw some of them, seeded, none twice."""
    tokenizer = TextTokenizer(bundle.file(TOKENIZER), bundle.text.max_tokens)
    return draw_batches(tokenizer.rows(texts), tokenizer.pad_id, tokens=tokens, count=count)


def run_of(graph: bytes) -> Run:
    """Open a graph as the service does, on one thread, so that the thread's clock sees it all."""
    session = open_session(graph)

    def run(tokens: Tokens) -> Vectors:
        feeds = {"ids": tokens.ids, "mask": tokens.mask}
        return np.asarray(session.run(["vector"], feeds)[0], dtype=np.float32)

    return run


def compare(
    open_a: Callable[[], Run],
    open_b: Callable[[], Run],
    batches: Sequence[Tokens],
    clock: Callable[[], int] = time.thread_time_ns,
) -> Comparison:
    """Check the vectors, then A against another A, then B against A; noise is a BenchmarkError."""
    first, again, second = open_a(), open_a(), open_b()
    alike = checked(first, second, batches)
    noise = Speedup.of(time_pairs(first, again, batches, clock))
    if not noise.is_nothing:
        raise BenchmarkError(f"too noisy: A is {noise} times as fast as itself")
    pairs = time_pairs(first, second, batches, clock)
    return Comparison(Speedup.of(pairs), noise, us_per_text(pairs, batches), alike)


def checked(first: Run, second: Run, batches: Sequence[Tokens]) -> tuple[float, float]:
    """Return mean and least cosine of B's vectors with A's; no unit vectors, no figures."""
    vectors = [np.concatenate([run(batch) for batch in batches]) for run in (first, second)]
    texts = sum(len(batch.ids) for batch in batches)
    for name, found in zip("AB", vectors, strict=True):
        check_vectors(name, found, texts)
    cosines = cosine(*vectors)  # (N,)
    return round(float(cosines.mean()), 6), round(float(cosines.min()), 6)


def us_per_text(pairs: Pairs, batches: Sequence[Tokens]) -> tuple[float, float]:
    """Return the median cost of a text in A and in B: (N, 2) nanoseconds a batch."""
    texts = np.array([len(batch.ids) for batch in batches])
    a, b = np.median(pairs / texts[:, None], axis=0) / 1e3
    return round(float(a), DIGITS), round(float(b), DIGITS)


def show(found: Comparison) -> None:
    """Print the comparison."""
    a, b = found.us_per_text
    click.echo(f"A to A   {found.noise}")
    click.echo(f"B to A   {found.speedup}   {found.speedup.verdict}")
    click.echo(f"a text   A {a:.1f} us, B {b:.1f} us (CPU time, without tokenising)")
    click.echo(f"cosine   mean {found.cosine[0]:.6f}, least {found.cosine[1]:.6f}")


if __name__ == "__main__":
    main()
