"""Two graphs are compared by pairs of runs: what is equal stays equal, what is slower is seen."""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import encoder_ab
from benchmarks.comparison import BenchmarkError
from benchmarks.cpu import first_cores, pinned
from benchmarks.encoder_pairs import Speedup, time_pairs
from benchmarks.results import read_figures
from contract.article import Vectors
from contract.bundle import open_bundle
from contract.tokens import Tokens

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "newsbert"


def batches(n: int) -> list[Tokens]:
    """Return batches of two texts with three tokens each."""
    return [Tokens(np.full((2, 3), i), np.ones((2, 3), np.int64)) for i in range(n)]


class FakeMachine:
    """A clock that only runs of the fake encoders move, each with its cost and some noise."""

    def __init__(self, noise: float = 0.001, drift: float = 0.0) -> None:
        self._now = 0
        self._random = np.random.default_rng(0)
        self._noise, self._drift = noise, drift
        self.order: list[str] = []

    def clock(self) -> int:
        """Return the nanoseconds so far."""
        return self._now

    def encoder(self, name: str, cost: float) -> Callable[[Tokens], Vectors]:
        """Return an encoder that takes so many nanoseconds for a batch."""

        def run(tokens: Tokens) -> Vectors:
            self.order.append(name)
            factor = np.exp(self._noise * self._random.standard_normal())
            self._now += round(cost * factor * (1 + self._drift * len(self.order)))
            return np.full((len(tokens.ids), 4), 0.5, np.float32)

        return run


def compared(machine: FakeMachine, *costs: float) -> encoder_ab.Comparison:
    """Compare encoders of given costs: A, another A, B."""
    a, again, b = (machine.encoder(n, c) for n, c in zip(("A", "A2", "B"), costs, strict=True))
    opened: Iterator[Callable[[Tokens], Vectors]] = iter((a, again))
    return encoder_ab.compare(lambda: next(opened), lambda: b, batches(60), machine.clock)


def test_a_graph_is_as_fast_as_itself() -> None:
    """Its interval lies within one per cent of 1: take the simpler."""
    found = compared(FakeMachine(), 1e6, 1e6, 1e6)
    assert found.speedup.verdict == "equal: take the simpler"
    assert found.speedup.ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("cost", "verdict"),
    [(0.9e6, "accept"), (1.1e6, "reject"), (0.99e6, "undecided"), (1.002e6, "equal")],
)
def test_a_verdict_needs_the_whole_interval(cost: float, verdict: str) -> None:
    """A gain of about one per cent is neither accepted nor nothing."""
    assert compared(FakeMachine(), 1e6, 1e6, cost).speedup.verdict.startswith(verdict)


def test_a_machine_that_sees_a_difference_in_itself_is_refused() -> None:
    """A against another A must lie within one per cent of 1."""
    with pytest.raises(BenchmarkError, match="too noisy"):
        compared(FakeMachine(), 1e6, 1.02e6, 1e6)


def test_noise_widens_the_interval_until_nothing_can_be_told() -> None:
    """Runs that vary by a third leave no interval within one per cent."""
    with pytest.raises(BenchmarkError, match="too noisy"):
        compared(FakeMachine(noise=0.3), 1e6, 1e6, 1e6)


def test_a_machine_that_slows_down_meets_both_alike() -> None:
    """Order A B B A: a drift over hundreds of runs changes no ratio."""
    found = compared(FakeMachine(drift=0.01), 1e6, 1e6, 0.8e6)
    assert found.speedup.ratio == pytest.approx(1.25, abs=0.005)


def test_each_follows_itself_as_often_as_the_other() -> None:
    """Also the warm-up counts: who runs after himself finds his weights in the cache."""
    order: list[str] = []
    ticks = count()
    time_pairs(
        lambda _: order.append("A"), lambda _: order.append("B"), batches(2), lambda: next(ticks)
    )
    assert "".join(order) == "BAABBA" + "ABBAAB"


def test_nothing_measured_is_refused() -> None:
    """No pair gives no figure."""
    with pytest.raises(BenchmarkError, match="nothing was measured"):
        Speedup.of(np.empty((0, 2)))


def test_the_same_seed_gives_the_same_interval() -> None:
    """The draws of the bootstrap are fixed."""
    pairs = np.random.default_rng(1).uniform(1, 2, (50, 2))
    assert Speedup.of(pairs) == Speedup.of(pairs)


def test_wrong_vectors_are_refused_before_any_timing() -> None:
    """A graph that makes no unit vectors has no speed."""
    machine = FakeMachine()
    good = machine.encoder("A", 1e6)
    with pytest.raises(BenchmarkError, match="B: a length"):
        encoder_ab.compare(lambda: good, lambda: lambda t: 2 * good(t), batches(3), machine.clock)


def test_a_thread_keeps_to_its_cores_and_gets_all_back() -> None:
    """For the block alone, also when it fails."""
    everything = first_cores(10_000)
    with pinned(1):
        assert len(first_cores(10_000)) == 1
    assert first_cores(10_000) == everything
    with pytest.raises(ZeroDivisionError), pinned(1):
        raise ZeroDivisionError
    assert first_cores(10_000) == everything


def test_the_command_compares_a_bundle_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keeps what an earlier comparison has found, under its label."""
    found = compared(FakeMachine(), 1e6, 1e6, 1e6)
    monkeypatch.setattr(encoder_ab, "compare", lambda *_: found)
    graph = str(BUNDLE / "news_encoder.onnx")
    for label in ("first", "second"):
        words = [str(BUNDLE), graph, "--pairs", "2", "--label", label, "--out", str(tmp_path)]
        result = CliRunner().invoke(encoder_ab.main, words)
        assert result.exit_code == 0, result.output
    figures = read_figures("encoder_ab", tmp_path)
    assert list(figures) == ["first", "second"]
    assert figures["first"]["verdict"] == "equal: take the simpler"


def test_each_comparison_keeps_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one, of another command and commit, leaves the first one's as they were."""
    found = compared(FakeMachine(), 1e6, 1e6, 1e6)
    monkeypatch.setattr(encoder_ab, "compare", lambda *_: found)
    for label, pairs, dirty in (("first", "2", True), ("second", "3", False)):
        words = [str(BUNDLE), str(BUNDLE), "--pairs", pairs, "--label", label]
        monkeypatch.setattr(sys, "argv", ["encoder_ab", *words])
        told = {"revision": f"of the {label}", "dirty": dirty}
        monkeypatch.setattr(encoder_ab, "commit", lambda told=told: told)
        result = CliRunner().invoke(encoder_ab.main, [*words, "--out", str(tmp_path)])
        assert result.exit_code == 0, result.output
    figures = read_figures("encoder_ab", tmp_path)
    first, second = (figures[label]["origin"] for label in ("first", "second"))
    assert first["commit"] == {"revision": "of the first", "dirty": True}
    assert second["commit"] == {"revision": "of the second", "dirty": False}
    assert first["command"].endswith("encoder_ab newsbert newsbert --pairs 2 --label first")
    samples = ["samples/articles.jsonl"]
    assert first["settings"] == {"pairs": 2, "tokens": 256, "texts": samples}
    assert second["settings"]["pairs"] == 3
    assert {"written_at", "machine"} <= set(first)


def test_the_command_ends_with_2_when_it_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A noisy machine is no verdict."""
    compare = encoder_ab.compare
    run = FakeMachine(noise=0.3)
    encoder = run.encoder("A", 1e6)
    monkeypatch.setattr(
        encoder_ab,
        "compare",
        lambda *given: compare(lambda: encoder, lambda: encoder, given[2], run.clock),
    )
    result = CliRunner().invoke(encoder_ab.main, [str(BUNDLE), str(BUNDLE), "--pairs", "2"])
    assert result.exit_code == 2
    assert "too noisy" in result.output


def test_batches_are_drawn_by_a_fixed_seed_and_keep_to_their_tokens() -> None:
    """None is larger than asked for, none is drawn twice."""
    bundle = open_bundle(BUNDLE)
    texts = [" ".join(["news"] * n) for n in range(1, 60)]
    first, again = (encoder_ab.choose_batches(bundle, texts, 128, 5) for _ in range(2))
    assert [b.ids.tolist() for b in first] == [b.ids.tolist() for b in again]
    assert all(b.ids.size <= 128 for b in first)
    assert len({b.ids.shape for b in first}) == 5


def test_the_shipped_graph_runs_under_the_options_of_the_comparison() -> None:
    """The real encoder on two batches, as a check of the fakes."""
    bundle = open_bundle(BUNDLE)
    graph = encoder_ab.read_graph(BUNDLE)
    few = encoder_ab.choose_batches(bundle, ["a goal", "a vote in the senate"], 256, 2)
    mean, least = encoder_ab.checked(encoder_ab.run_of(graph), encoder_ab.run_of(graph), few)
    assert (mean, least) == pytest.approx((1, 1), abs=1e-5)
