"""Whole lines of a `behaviors.tsv` to arrays at once, and the lines that only rules can judge.

A line is plain when what it says can be told from where its tabs, blanks and dashes are. All other
lines, malformed or merely odd, are left to `contract.mind`, whose rules are the only ones.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.article import Impression
from contract.mind import BEHAVIOR_COLUMNS, MindError, MindReport, parse_time
from training.click_log_numbers import UNKNOWN, ArticleNumbers, Bytes, Numbers, Places

Flags: TypeAlias = NDArray[np.bool_]

TAB, NEWLINE, RETURN, BLANK, DASH, ZERO, ONE = (np.uint8(ord(c)) for c in "\t\n\r -01")
TIME, HISTORY, CANDIDATES = (BEHAVIOR_COLUMNS.index(c) for c in ("time", "history", "candidates"))
SHORTEST = len("N-1")
# Above this share of odd lines the plain runs between them are too short to gain anything.
MANY = 0.1
# A date and a clock of these shapes are right or wrong whatever the other is.
DATE_AND_CLOCK = re.compile(rb"([0-9/]+) ([0-9:]+ [AaPp][Mm])")


@dataclass(frozen=True)
class Lines:
    """What some lines say, each column end to end with its lengths per line (L,)."""

    ids: Bytes
    id_lengths: Places
    history: Numbers
    history_lengths: Places
    candidates: Numbers
    clicks: Flags
    candidate_lengths: Places

    def __len__(self) -> int:
        return len(self.id_lengths)

    def count(self, report: MindReport) -> None:
        """Add what these lines have to a report, as `contract.mind` counts it."""
        lines = np.repeat(np.arange(len(self)), self.candidate_lengths)
        clicked = np.bincount(lines[self.clicks], minlength=len(self))  # (L,)
        report.impressions += len(self)
        report.impressions_without_clicks += int((clicked == 0).sum())
        report.impressions_without_skips += int((clicked == self.candidate_lengths).sum())
        report.impressions_without_history += int((self.history_lengths == 0).sum())
        report.unknown_ids += int((self.history < 0).sum() + (self.candidates < 0).sum())


@dataclass
class ValidTimes:
    """Judge times by `contract.mind`, each date and each clock once."""

    dates: set[bytes]
    clocks: set[bytes]

    def __contains__(self, text: bytes) -> bool:
        date, _, clock = text.partition(b" ")
        return (date in self.dates and clock in self.clocks) or self._judge(text)

    def _judge(self, text: bytes) -> bool:
        try:
            parse_time(Path(), 0, text.decode("utf-8", "replace"))
        except MindError:
            return False
        if parts := DATE_AND_CLOCK.fullmatch(text):
            self.dates.add(parts[1])
            self.clocks.add(parts[2])
        return True


def runs(block: bytes, numbers: ArticleNumbers, times: ValidTimes) -> Iterator[Lines | list[bytes]]:
    """Cut a block of whole lines into runs of plain lines, read, and of odd ones, as they are."""
    read = read_lines(block, numbers, times)
    if isinstance(read, Lines):
        yield read
        return
    odd = read if read.mean() < MANY else np.ones_like(read)
    lines = [line + b"\n" for line in block.split(b"\n")[:-1]]
    for is_odd, run in groupby(zip(odd.tolist(), lines, strict=True), itemgetter(0)):
        same = [line for _, line in run]
        if is_odd:
            yield same
        else:
            yield from runs(b"".join(same), numbers, times)


def read_lines(block: bytes, numbers: ArticleNumbers, times: ValidTimes) -> Lines | Flags:
    """Read a block of whole lines if all are plain; else tell which (L,) are certainly not."""
    text = np.frombuffer(block + bytes(numbers.reach), np.uint8)
    gaps = np.flatnonzero(text[: len(block)] <= BLANK)
    kinds = text[gaps]
    breaks = np.flatnonzero((kinds == TAB) | (kinds == NEWLINE))
    odd = _miscounted(kinds[breaks])
    if odd.any():
        return odd
    marks = breaks.reshape(len(odd), -1)  # (L, 5) of `gaps`: where the columns end
    ends = gaps[marks]
    starts = np.concatenate([[0], ends[:-1, -1] + 1])
    history_starts, history_ends, history_lengths = _entries(gaps, marks, HISTORY)
    shown_starts, shown_ends, shown_lengths = _entries(gaps, marks, CANDIDATES)
    broken = _broken(text, shown_starts, shown_ends)
    odd[np.repeat(np.arange(len(odd)), shown_lengths)[broken]] = True
    odd[_strange(block, text, gaps[kinds < BLANK], ends)] = True
    odd |= ~_timed(block, ends, times)
    if odd.any():
        return odd
    id_lengths = ends[:, 0] - starts
    return Lines(
        ids=text[ranges(starts, id_lengths)],
        id_lengths=id_lengths,
        history=numbers.find(text, history_starts, history_ends - history_starts),
        history_lengths=history_lengths,
        candidates=numbers.find(text, shown_starts, shown_ends - shown_starts - len("-1")),
        clicks=text[shown_ends - 1] == ONE,
        candidate_lengths=shown_lengths,
    )


def lines_of(impressions: Sequence[Impression], numbers: dict[str, int]) -> Lines:
    """Put impressions that rules have read into the same arrays."""
    ids = [i.id.encode() for i in impressions]
    read = [numbers.get(a, UNKNOWN) for i in impressions for a in i.history]
    shown = [numbers.get(a, UNKNOWN) for i in impressions for a in i.candidates]
    return Lines(
        ids=np.frombuffer(b"".join(ids), np.uint8),
        id_lengths=np.array([len(i) for i in ids], np.int64),
        history=np.array(read, np.int32),
        history_lengths=np.array([len(i.history) for i in impressions], np.int64),
        candidates=np.array(shown, np.int32),
        clicks=np.array([click for i in impressions for click in i.clicks], np.bool_),
        candidate_lengths=np.array([len(i.candidates) for i in impressions], np.int64),
    )


def ranges(starts: Places, lengths: Places) -> Places:
    """Return start, start + 1, … of each range, end to end."""
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - before, lengths))


def _miscounted(breaks: Bytes) -> Flags:
    columns = np.diff(np.flatnonzero(breaks == NEWLINE), prepend=-1)
    return np.asarray(columns != len(BEHAVIOR_COLUMNS))


def _entries(gaps: Places, marks: Places, column: int) -> tuple[Places, Places, Places]:
    # An entry ends at a gap and starts behind the gap before it; two gaps in a row have none.
    first, counts = marks[:, column - 1] + 1, marks[:, column] - marks[:, column - 1]
    at = ranges(first, counts)
    starts, ends = gaps[at - 1] + 1, gaps[at]
    full = ends > starts
    # Every column has a gap at its end: no range is empty, which `reduceat` could not bear.
    lengths = np.add.reduceat(full, np.cumsum(counts) - counts, dtype=np.int64)
    return starts[full], ends[full], lengths


def _broken(text: Bytes, starts: Places, ends: Places) -> Flags:
    click = text[ends - 1]
    right = (text[ends - 2] == DASH) & ((click == ZERO) | (click == ONE))
    return np.asarray(~right | (ends - starts < SHORTEST))


def _strange(block: bytes, text: Bytes, controls: Places, ends: Places) -> Places:
    # Unicode has white space of its own; that, control characters and no UTF-8 are left to rules.
    kinds = text[controls]
    places = controls[(kinds != TAB) & (kinds != NEWLINE) & (kinds != RETURN)]
    if not block.isascii():
        wide = np.flatnonzero(text >= 0x80)
        if _is_utf8(block):
            wide = wide[wide > ends[np.searchsorted(ends[:, -1], wide), TIME]]
        places = np.concatenate([places, wide])
    return np.asarray(np.searchsorted(ends[:, -1], places))


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _timed(block: bytes, ends: Places, times: ValidTimes) -> Flags:
    starts, stops = (ends[:, TIME - 1] + 1).tolist(), ends[:, TIME].tolist()
    valid = (block[a:b] in times for a, b in zip(starts, stops, strict=True))
    return np.fromiter(valid, np.bool_, len(ends))
