"""Legs in turns: their answers first, then rounds in which every leg encodes the same texts."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.agreement import check_vectors
from benchmarks.comparison import DIGITS, BenchmarkError
from benchmarks.encoder_legs import OURS, Leg, LineUp
from benchmarks.peers import (
    ENVIRONMENTS,
    PEERS,
    WORKER,
    PeerUnavailable,
    Worker,
    environment,
    working,
)
from contract.article import Vectors
from contract.probing import MIN_BATCH_COSINE
from contract.vectors import cosine
from export.parity import ParityBudget

Round: TypeAlias = dict[str, dict[str, float]]

LOGS = ENVIRONMENTS / "logs"
CHECKED = 512
INVARIANCE = 64
# Float32 on the same weights gives the same vector; int8 keeps the exporter's bound on the mean.
SAME, NEAR = 0.9999, ParityBudget.mean_cosine
TURNS, ALONE_REPEAT = 3, 100


@dataclass(frozen=True, slots=True)
class Answers:
    """Cosines with torch on the same weights, and of texts encoded alone with those in a batch."""

    mean_cosine: float | None
    least_cosine: float | None
    batch_cosine: float

    @property
    def passes(self) -> bool | None:
        """Say whether both gates of a bundle hold: near the weights, and independent of batches.

        None where there was no reference to compare with.
        """
        if not self.batch_cosine >= MIN_BATCH_COSINE:
            return False
        return None if self.mean_cosine is None else self.mean_cosine >= NEAR

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {**asdict(self), "passes": self.passes}


class Team:
    """The workers of one number of threads; a leg whose worker fails leaves, its reason told."""

    def __init__(self, lined: LineUp, workers: dict[str, Worker], folder: Path) -> None:
        self._lined, self._workers, self._folder = lined, workers, folder

    @property
    def legs(self) -> list[Leg]:
        """Return the legs that still run."""
        return [leg for leg in self._lined.legs if leg.name in self._workers]

    def worker(self, leg: str) -> Worker:
        """Return a leg's worker."""
        return self._workers[leg]

    def each(self, do: Callable[[Leg, Worker], Any], *, start: int = 0) -> dict[str, Any]:
        """Do something with each leg in turn, beginning with another one for each `start`."""
        legs = self.legs
        first = start % max(len(legs), 1)
        found = {}
        for leg in [*legs[first:], *legs[:first]]:
            try:
                found[leg.name] = do(leg, self._workers[leg.name])
            except PeerUnavailable as error:
                self._lined.not_run[leg.name] = str(error)
                del self._workers[leg.name]
        return found

    def file(self, name: str, texts: Sequence[str]) -> str:
        """Write texts where the workers read them."""
        target = self._folder / f"{name}.json"
        target.write_text(json.dumps(list(texts)), "utf-8")
        return str(target)


@contextmanager
def team(lined: LineUp, threads: int, peers: Sequence[str], folder: Path) -> Iterator[Team]:
    """Start a worker for every leg, in the environment of its package."""
    with ExitStack() as stack:
        workers = {}
        for leg in lined.legs:
            if leg.kind in PEERS and leg.kind not in peers:
                lined.not_run[leg.name] = "left out by --peers"
                continue
            try:
                python = environment(PEERS[leg.kind]) if leg.kind in PEERS else sys.executable
                command = [python, "-P", WORKER, leg.spec(threads)]
                started = working(leg.name, command, threads=threads, logs=LOGS)
                workers[leg.name] = stack.enter_context(started)
            except PeerUnavailable as error:
                lined.not_run[leg.name] = str(error)
        yield Team(lined, workers, folder)


def check_answers(
    team: Team, texts: Sequence[str], references: Mapping[str, Vectors]
) -> tuple[dict[str, Answers], dict[str, Vectors]]:
    """Encode the first texts with every leg; an exact one that is off raises BenchmarkError."""
    first, few = list(texts[:CHECKED]), list(texts[:INVARIANCE])
    files = {"all": team.file("checked", first), "few": team.file("few", few)}

    def ask(leg: Leg, worker: Worker) -> tuple[Vectors, Vectors]:
        out = str(Path(files["all"]).with_name("vectors.npy"))
        worker.ask({"encode": files["all"], "out": out})
        together = np.load(out, allow_pickle=False)
        check_vectors(leg.name, together, len(first))
        worker.ask({"encode": files["few"], "out": out, "singly": True})
        return together, np.load(out, allow_pickle=False)

    found = team.each(ask)
    answers = {}
    for leg in team.legs:
        together, alone = found[leg.name]
        answers[leg.name] = judged(leg, together, alone, references.get(leg.weights))
    return answers, {name: together for name, (together, _) in found.items()}


def judged(leg: Leg, together: Vectors, alone: Vectors, reference: Vectors | None) -> Answers:
    """Compare a leg's vectors with torch's and with its own of texts alone."""
    batch = float(cosine(together[: len(alone)], alone).min())
    if reference is None:
        return Answers(None, None, round(batch, 6))
    near = cosine(together, reference)
    mean, least = float(near.mean()), float(near.min())
    wrong = mean < NEAR if leg.family in ("ours", "runner") else least < SAME
    if leg.exact and wrong:
        raise BenchmarkError(
            f"{leg.name}: cosine {mean:.4f} (least {least:.4f}) to torch: not its weights"
        )
    return Answers(round(mean, 6), round(least, 6), round(batch, 6))


def time_rounds(team: Team, parts: Sequence[Sequence[str]]) -> list[Round]:
    """Encode one part of the texts a round, each leg the same, another leg first every time."""
    found = []
    for number, texts in enumerate(parts):
        file = team.file("round", texts)

        def encode(leg: Leg, worker: Worker, file: str = file, n: int = len(texts)) -> Any:  # noqa: ANN401
            spent = worker.ask({"encode": file, "repeat": leg.repeat})
            return speeds(n * leg.repeat, spent)

        found.append(team.each(encode, start=number))
    return found


def speeds(texts: int, spent: Mapping[str, float]) -> dict[str, float]:
    """Return texts a second, by the clock on the wall and by the processor's."""
    return {
        "articles_per_s": round(texts / spent["seconds"], DIGITS),
        "articles_per_cpu_s": round(texts / spent["cpu_seconds"], DIGITS),
        "peak_mb": round(spent["peak_mb"], 1),
    }


def time_alone(team: Team, text: str) -> dict[str, Any]:
    """Encode one text again and again with all legs but the teacher's: medians over some turns."""

    def ask(leg: Leg, worker: Worker) -> Any:  # noqa: ANN401
        if leg.family == "teacher":
            return None
        return worker.ask({"alone": text, "repeat": ALONE_REPEAT})

    turns = [team.each(ask, start=turn) for turn in range(TURNS)]
    return {
        name: {
            figure: round(float(np.median([turn[name][figure] for turn in turns])), DIGITS)
            for figure in ("p50_ms", "p99_ms")
        }
        for name, found in turns[-1].items()
        if found is not None
    }


def time_orders(team: Team, texts: Sequence[str]) -> dict[str, float]:
    """Encode the same texts sorted, reversed and shuffled: CPU time of each to the quickest."""
    ordered = sorted(texts, key=len)
    orders = {"sorted": ordered, "reversed": ordered[::-1], "shuffled": list(texts)}
    files = {name: team.file(f"order-{name}", order) for name, order in orders.items()}
    spent: dict[str, list[float]] = {name: [] for name in orders}
    for _ in range(TURNS):
        for name, file in files.items():
            spent[name].append(team.worker(OURS).ask({"encode": file, "repeat": 2})["cpu_seconds"])
    best = {name: min(times) for name, times in spent.items()}
    return {name: round(time / min(best.values()), DIGITS) for name, time in best.items()}
