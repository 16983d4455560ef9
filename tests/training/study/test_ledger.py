"""The ledger adds up what every attempt took, whatever a kill left of the file."""

from pathlib import Path

import pytest

from training.study.ledger import Entry, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Open a ledger that has no file yet."""
    return Ledger(tmp_path / "deep" / "ledger.jsonl")


def test_an_empty_ledger_adds_up_to_nothing(ledger: Ledger) -> None:
    """Before the first run there is no file."""
    assert (ledger.entries(), ledger.cpu_s(), ledger.next_attempt("a-s1")) == ([], {}, 1)


def test_an_attempt_counts_with_what_was_written_last(ledger: Ledger) -> None:
    """Times are of the attempt so far, not since the entry before."""
    for event, cpu_s in (("begun", 0.0), ("alive", 5.0), ("finished", 7.0)):
        ledger.add(Entry("a-s1", 1, event, wall_s=cpu_s / 2, cpu_s=cpu_s))  # type: ignore[arg-type]
    assert (ledger.cpu_s(), ledger.wall_s()) == ({"a-s1": 7.0}, {"a-s1": 3.5})


def test_attempts_add_up(ledger: Ledger) -> None:
    """A killed attempt and the one that goes on took both their time."""
    ledger.add(Entry("a-s1", 1, "alive", cpu_s=5.0))
    ledger.add(Entry("b-s1", 1, "failed", cpu_s=1.0, cause="no space"))
    assert ledger.next_attempt("a-s1") == 2
    ledger.add(Entry("a-s1", 2, "finished", cpu_s=3.0))
    assert ledger.cpu_s() == {"a-s1": 8.0, "b-s1": 1.0}


@pytest.mark.parametrize("left", ['{"at": "2026-', "[1]\n", '{"step": "a-s1"}\n', "\xff\n"])
def test_a_line_that_a_kill_cut_off_is_left_out(left: str, ledger: Ledger, tmp_path: Path) -> None:
    """What was written before and what is written after it count."""
    ledger.add(Entry("a-s1", 1, "alive", cpu_s=5.0))
    with (tmp_path / "deep" / "ledger.jsonl").open("ab") as file:
        file.write(left.encode("latin-1"))
    ledger.add(Entry("a-s1", 2, "alive", cpu_s=1.0))
    assert ledger.cpu_s() == {"a-s1": 6.0}
    assert len(ledger.entries()) == 2
