"""Lines: which are read at once, which are left to the rules, and that the rest does not suffer."""

from pathlib import Path

import numpy as np
import pytest

from contract.mind import MindError, parse_time
from training.click_log_lines import Lines, ValidTimes, ranges, read_lines, runs
from training.click_log_numbers import ArticleNumbers

PLAIN = "1\tU1\t11/11/2019 1:03:52 PM\tN1 N2\tN3-1 N4-0\n"
NUMBERS = ArticleNumbers(["N1", "N2", "N3", "N4"])


def no_times() -> ValidTimes:
    """Know no time yet."""
    return ValidTimes(set(), set())


PLAIN_LINES = {
    "MIND's own": PLAIN,
    "Windows": PLAIN.replace("\n", "\r\n"),
    "no time": PLAIN.replace("11/11/2019 1:03:52 PM", ""),
    "time with zeros": PLAIN.replace("1:03:52 PM", "01:03:52 pm"),
    "no history": PLAIN.replace("N1 N2", ""),
    "nothing shown": PLAIN.replace("N3-1 N4-0", ""),
    "blanks around": PLAIN.replace("N1 N2", " N1  N2 "),
    "a user of another alphabet": PLAIN.replace("U1", "Ωμέγα"),
    "unknown ids": PLAIN.replace("N", "X"),
    "dashes in ids": PLAIN.replace("N3-1", "N-3--1"),
}


@pytest.mark.parametrize("line", PLAIN_LINES.values(), ids=PLAIN_LINES)
def test_a_plain_line_needs_no_rules(line: str) -> None:
    """What whole logs have is read at once: otherwise it would be right, but slow."""
    (read,) = runs((PLAIN + line + PLAIN).encode(), NUMBERS, no_times())
    assert isinstance(read, Lines)
    assert len(read) == 3


ODD_LINES = {
    "blank": "\n",
    "another column": PLAIN.replace("U1", "U1\t"),
    "no columns": "one\n",
    "Unicode's blank": PLAIN.replace("N1 N2", "N1\u2003N2"),
    "control character": PLAIN.replace("N1 N2", "N1\x1cN2"),
    "NUL": PLAIN.replace("U1", "\x00"),
    "unlike a candidate": PLAIN.replace("N3-1", "N3"),
    "no dash": PLAIN.replace("N3-1", "N31"),
    "no id": PLAIN.replace("N3-1", "-1"),
    "not a time": PLAIN.replace("11/11", "11/31"),
    "Latin-1": PLAIN.replace("U1", "\udce9"),
}


@pytest.mark.parametrize("line", ODD_LINES.values(), ids=ODD_LINES)
def test_an_odd_line_is_left_to_the_rules(line: str) -> None:
    """It comes back as it is, in its place; the lines around it are still read at once."""
    raw = line.encode("utf-8", "surrogateescape")
    before, odd, after = runs(PLAIN.encode() * 20 + raw + PLAIN.encode() * 30, NUMBERS, no_times())
    assert odd == [raw]
    assert isinstance(before, Lines)
    assert isinstance(after, Lines)
    assert (len(before), len(after)) == (20, 30)


def test_two_kinds_of_odd_lines_are_both_left() -> None:
    """Lines are judged by column count first, and what is left by what the columns hold."""
    block = [PLAIN] * 20 + ["one\n"] + [PLAIN] * 20 + [ODD_LINES["no id"]] + [PLAIN] * 20
    found = list(runs("".join(block).encode(), NUMBERS, no_times()))
    assert [len(run) for run in found] == [20, 1, 20, 1, 20]
    assert [isinstance(run, Lines) for run in found] == [True, False, True, False, True]


def test_a_block_of_many_odd_lines_is_not_cut_to_shreds() -> None:
    """Where every second line is odd, the rules read them all."""
    block = (PLAIN + ODD_LINES["no id"]).encode() * 50
    (run,) = runs(block, NUMBERS, no_times())
    assert isinstance(run, list)
    assert b"".join(run) == block


@pytest.mark.parametrize(
    "time",
    [
        "11/11/2019 1:03:52 PM",
        "1/1/2020 12:59:59 AM",
        "11/31/2019 1:03:52 PM",
        "11/11/2019 0:03:52 PM",
        "11/11/2019 1/2019 1:03:52 PM",
        "11/11/2019 PM",
        "11/ 1:03:52 PM",
        "PM",
    ],
)
def test_times_are_judged_as_by_the_rules_whatever_was_seen_before(time: str) -> None:
    """Parts of valid times are remembered, but do not make a wrong one valid."""
    times = no_times()
    for seen in ("11/11/2019 1:03:52 PM", "11/ 1/2019 1:03:52 PM", "11/11/2019\x0b1:03:52 PM"):
        assert seen.encode() in times
    try:
        parse_time(Path("behaviors.tsv"), 1, time)
        valid = True
    except MindError:
        valid = False
    assert (time.encode() in times) is valid


def test_a_date_and_a_clock_are_judged_once() -> None:
    """Millions of times share some dates and some clocks."""
    times = no_times()
    for day in range(1, 31):
        for second in range(60):
            assert f"11/{day}/2019 1:03:{second:02} PM".encode() in times
    assert (len(times.dates), len(times.clocks)) == (30, 60)


def test_lines_hold_one_length_per_line() -> None:
    """The columns lie end to end; ids are bytes."""
    block = (PLAIN + PLAIN_LINES["no history"] + PLAIN_LINES["nothing shown"]).encode()
    read = read_lines(block, NUMBERS, no_times())
    assert isinstance(read, Lines)
    assert read.history.tolist() == [0, 1, 0, 1]
    assert read.history_lengths.tolist() == [2, 0, 2]
    assert read.candidates.tolist() == [2, 3, 2, 3]
    assert read.clicks.tolist() == [True, False, True, False]
    assert read.candidate_lengths.tolist() == [2, 2, 0]
    assert (read.ids.tobytes(), read.id_lengths.tolist()) == (b"111", [1, 1, 1])


def test_ranges_lie_end_to_end() -> None:
    """An empty range takes no room."""
    assert ranges(np.array([5, 9, 0]), np.array([2, 0, 3])).tolist() == [5, 6, 0, 1, 2]
