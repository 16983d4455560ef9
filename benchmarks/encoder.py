"""How many articles a second the student encodes, beside its teacher and the public packages."""

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.agreement import agreement
from benchmarks.ceiling import int8_ceiling
from benchmarks.comparison import BenchmarkError, Spread, reported
from benchmarks.cpu import busy_cores
from benchmarks.encoder_goals import ceiling_shares, goals, speeds_of, text_lines
from benchmarks.encoder_legs import OURS, YARDSTICK, LineUp, Material, is_of, line_up
from benchmarks.encoder_plot import draw
from benchmarks.encoder_profile import profile
from benchmarks.encoder_rounds import (
    CHECKED,
    LOGS,
    Answers,
    Team,
    check_answers,
    team,
    time_alone,
    time_orders,
    time_rounds,
)
from benchmarks.encoder_texts import (
    distinct_texts,
    file_names,
    for_threads,
    headline,
    parts,
    texts_option,
)
from benchmarks.peers import ENVIRONMENTS, PEERS, WORKER, Peer, working
from benchmarks.results import FOLDER, ROOT, write_result
from contract.article import Vectors
from contract.bundle import Bundle, open_bundle
from contract.bundle_errors import BundleError
from contract.golden import verified_encoder
from contract.mind import MindError
from contract.verification import size_of
from service.articles import ArticleFileError
from training.checkpoint import load_student
from training.errors import TrainingError
from training.teacher import short_name

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
CHECKPOINT = ROOT / "runs" / "bundle"
PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "onnxruntime", "numpy")
STARTS = 3
PROFILED = MEMORY_TEXTS = ORDERED = 2_000
# How many cores others may use at the start.
QUIET = 0.2
DIRECTORY = click.Path(path_type=Path, exists=True, file_okay=False)
Figures = dict[str, Any]


@click.command()
@click.option("--bundle", type=DIRECTORY, default=ROOT / "bundles" / "newsbert")
@click.option("--bundle-1", type=DIRECTORY, help="One of one layer; else cut for timing.")
@click.option("--bundle-3", type=DIRECTORY, help="One of three layers; else cut for timing.")
@click.option(
    "--checkpoint",
    type=DIRECTORY,
    show_default="runs/bundle where the bundle comes from it",
    help="What the bundle was exported from; without one the peers' student is cut for timing.",
)
@click.option("--teacher", default=TEACHER, envvar="NEWSBERT_TEACHER", help="Hub id or folder.")
@texts_option
@click.option("--count", type=int, help="At most so many articles; else all.")
@click.option("--peers", default=",".join(PEERS), show_default=True, help="Or none.")
@click.option("--rounds", default=6, show_default=True, help="Rounds of each number of threads.")
@click.option("--threads", multiple=True, default=(1, 2), show_default=True, type=int)
@click.option("--busy", is_flag=True, help="Measure even where others keep the machine busy.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(**given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Check every encoder's answers, then time all of them on the same texts in turns.

    Example: python -m benchmarks.encoder --teacher FOLDER --texts news.tsv
    """
    with reported("encoder", BundleError, MindError, ArticleFileError, TrainingError):
        file = run(Settings(**given))
    click.echo(f"written to {file.name}")


@dataclass(frozen=True)
class Settings:
    """The command's options."""

    bundle: Path
    bundle_1: Path | None
    bundle_3: Path | None
    checkpoint: Path | None
    teacher: str
    texts: tuple[Path, ...]
    count: int | None
    peers: str
    rounds: int
    threads: tuple[int, ...]
    busy: bool
    out: Path

    @property
    def chosen_peers(self) -> list[str]:
        """Return the packages to run; an unknown name raises BenchmarkError."""
        names = [name for name in self.peers.split(",") if name not in ("", "none")]
        for name in sorted({*names} - {*PEERS}):
            raise BenchmarkError(f"--peers {name}: only {', '.join(PEERS)}, or none")
        return names

    @property
    def given(self) -> dict[int, Path]:
        """Return the bundles that need not be cut, by their layers."""
        places = {1: self.bundle_1, 3: self.bundle_3}
        return {layers: place for layers, place in places.items() if place is not None}


def run(settings: Settings) -> Path:
    """Make the legs, measure them, write the result and its picture."""
    peers = settings.chosen_peers
    if 1 not in settings.threads:
        raise BenchmarkError("--threads 1 is what the goals are about")
    if not settings.busy and busy_cores() > QUIET:
        raise BenchmarkError("others keep the machine busy; --busy measures all the same")
    bundle = verified(settings)
    settings = replace(settings, checkpoint=settings.checkpoint or checkpoint_of(bundle))
    texts = distinct_texts(bundle.text, settings.texts, settings.count)
    if len(texts) < settings.rounds * len(settings.threads):
        raise BenchmarkError(f"{len(texts)} texts are fewer than there are rounds")
    lined = line_up(
        Material(
            bundle=bundle,
            place=settings.bundle.resolve(),
            teacher=settings.teacher,
            checkpoint=settings.checkpoint,
            given=settings.given,
            folder=ENVIRONMENTS / "weights",
        )
    )
    figures, runs, answers = measure(settings, lined, texts, peers)
    figures |= process_figures(lined, texts)
    figures |= ceiling_figures(bundle, texts, lined, figures["threads_1"]["legs"])
    sizes = {leg.name: size_of(open_bundle(leg.folder)) for leg in lined.legs if leg.is_ours}
    figures |= {
        "answers": {name: found.as_dict() for name, found in answers.items()},
        "not_run": lined.not_run,
        "goals": goals(figures, lined.legs, answers, sizes),
    }
    for line in text_lines(figures):
        click.echo(line)
    families = {leg.name: leg.family for leg in lined.legs}
    settings.out.mkdir(parents=True, exist_ok=True)
    draw(figures, families, settings.out / "encoder.png")
    return write(settings, bundle, figures, runs, texts=len(texts))


def verified(settings: Settings) -> Bundle:
    """Open the bundle once it and those given repeat their golden answers; raise BundleError.

    Without a checkpoint nothing else tells wrong answers from right ones.
    """
    for place in settings.given.values():
        verified_encoder(place)
    return verified_encoder(settings.bundle)[0]


def checkpoint_of(bundle: Bundle) -> Path | None:
    """Return the checkpoint that `make train-bundle` leaves, unless the bundle is another one's.

    Nobody has named it: one that does not load, of a training that goes on, is told and left.
    """
    if not CHECKPOINT.is_dir():
        return None
    try:
        student = load_student(CHECKPOINT)
    except TrainingError as error:
        click.echo(f"going on without the checkpoint of `make train-bundle`: {error}", err=True)
        return None
    return CHECKPOINT if is_of(bundle, student) else None


def measure(
    settings: Settings, lined: LineUp, texts: Sequence[str], peers: Sequence[str]
) -> tuple[Figures, list[Figures], dict[str, Answers]]:
    """Check the answers, then time rounds for each number of threads, and single texts on one."""
    references = {
        name: encoder.vectors(texts[:CHECKED]) for name, encoder in lined.references.items()
    }
    figures: Figures = {}
    runs: list[Figures] = []
    answers: dict[str, Answers] = {}
    for threads in settings.threads:
        chosen = for_threads(texts, threads)
        with TemporaryDirectory() as folder, team(lined, threads, peers, Path(folder)) as together:
            click.echo(f"{threads} thread(s): {len(together.legs)} legs")
            if threads == 1:
                answers, vectors = check_answers(together, texts, references)
                figures["agreement"] = agreement_figures(vectors)
            rounds = time_rounds(together, parts(chosen, settings.rounds))
            figures[f"threads_{threads}"] = {"texts": len(chosen), **speeds_of(rounds)}
            runs += [{"threads": threads, "legs": one} for one in rounds]
            if threads == 1:
                figures["alone"] = alone_figures(together, settings.texts, texts)
                figures["order"] = time_orders(together, texts[:ORDERED])
    return figures, runs, answers


def agreement_figures(vectors: Mapping[str, Vectors]) -> dict[str, float]:
    """Return how far student and teacher agree on which texts are alike."""
    if YARDSTICK not in vectors:
        return {}
    return agreement(vectors[OURS], vectors[YARDSTICK]).as_dict()


def alone_figures(together: Team, files: Sequence[Path], texts: Sequence[str]) -> Figures:
    """Time a headline alone, and a text that fills every token position."""
    longest = max(texts, key=len)
    return {
        "headline": time_alone(together, headline(files)),
        "longest": time_alone(together, longest),
    }


def process_figures(lined: LineUp, texts: Sequence[str]) -> Figures:
    """Start a fresh encoder some times: seconds to the first vector, memory after 2,000 texts."""
    leg = next(leg for leg in lined.legs if leg.name == OURS)
    command = [sys.executable, "-P", str(WORKER), leg.spec(1)]
    seconds, megabytes = [], []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(list(texts[:MEMORY_TEXTS])), "utf-8")
        for _ in range(STARTS):
            with working(f"{OURS}-alone", command, threads=1, logs=LOGS) as worker:
                seconds.append(worker.ready_s)
                megabytes.append(worker.ask({"encode": str(file)})["peak_mb"])
    load = Spread.of(seconds).as_dict()
    return {"process": {"load_s": load, "peak_mb": round(max(megabytes), 1)}}


def ceiling_figures(
    bundle: Bundle, texts: Sequence[str], lined: LineUp, legs: Mapping[str, Figures]
) -> Figures:
    """Return the machine's int8 ceiling, ours beside it, and where the rest of the time goes."""
    profiled = profile(bundle, texts[:PROFILED])
    ceiling = int8_ceiling()
    if lined.architecture is not None:
        tokens = profiled["tokens_per_text"]
        ceiling["shares"] = ceiling_shares(legs, lined.architecture, ceiling, tokens)
    return {"profile": profiled, "ceiling": ceiling}


def write(
    settings: Settings, bundle: Bundle, figures: Figures, runs: Sequence[Figures], *, texts: int
) -> Path:
    """Write the result file."""
    is_cut = settings.checkpoint is None
    return write_result(
        "encoder",
        figures=figures,
        runs=runs,
        settings={
            "model": bundle.model,
            "teacher": short_name(settings.teacher),
            "student_weights": "cut for timing" if is_cut else "the bundle's checkpoint",
            "cut_for_timing": [f"ours-{n}" for n in (1, 3) if n not in settings.given],
            "texts": file_names(settings.texts),
            "count": texts,
            "max_tokens": bundle.text.max_tokens,
            "rounds": settings.rounds,
            "busy": settings.busy,
            "peers": {name: peer_facts(PEERS[name]) for name in settings.chosen_peers},
        },
        pinning="each leg on the first core, two threads on the first two",
        packages=PACKAGES,
        folder=settings.out,
    )


def peer_facts(peer: Peer) -> dict[str, Any]:
    """Return what was installed for a package."""
    return {"pins": peer.pins(), "note": peer.note}


if __name__ == "__main__":
    # Workers that wait are stopped and would outlive a parent that ends without a word.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main()
