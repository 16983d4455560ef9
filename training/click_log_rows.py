"""What click training learns from: one row per click that has a skip beside it, made when asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from training.batches import ClickRow
from training.click_log import ClickLog
from training.click_log_lines import Flags
from training.click_log_numbers import Numbers, Places


@dataclass(frozen=True)
class ClickRows(Sequence[ClickRow]):
    """R rows of a log: `clicks[r]` was clicked in impression `impressions[r]`.

    Nothing is copied: a row reads its history and skips from the log.
    """

    log: ClickLog
    impressions: Places  # (R,)
    clicks: Numbers  # (R,)
    longest: int  # of a history: the last so many known articles

    def __len__(self) -> int:
        return len(self.clicks)

    @overload
    def __getitem__(self, at: int) -> ClickRow: ...
    @overload
    def __getitem__(self, at: slice) -> "ClickRows": ...
    def __getitem__(self, at: int | slice) -> "ClickRow | ClickRows":
        if isinstance(at, slice):
            return replace(self, impressions=self.impressions[at], clicks=self.clicks[at])
        read, shown, clicked = self.log.impression(int(self.impressions[at]))
        return ClickRow(
            history=tuple(read[read >= 0][-self.longest :].tolist()),
            click=int(self.clicks[at]),
            skips=tuple(shown[(shown >= 0) & ~clicked].tolist()),
        )

    def articles(self) -> Places:
        """Return the distinct numbers of the articles that the rows read, in their order.

        Of a slice it may return more: every candidate of the impressions that it touches.
        """
        log, touched = self.log, np.zeros(len(self.log), np.bool_)
        touched[self.impressions] = True
        late = _last_known(log.history, log.history_offsets, self.longest)
        read = late & np.repeat(touched, np.diff(log.history_offsets))
        shown = np.repeat(touched, np.diff(log.candidate_offsets)) & (log.candidates >= 0)
        found = np.zeros(len(log.articles), np.bool_)
        found[log.history[read]] = True
        found[log.candidates[shown]] = True
        return np.flatnonzero(found)


def click_rows(log: ClickLog, *, history: int, kept: Flags | None = None) -> ClickRows:
    """Make one row per click that has at least one skip beside it; unknown ids are left out.

    With `kept` (N,) only impressions where it is true make rows.
    """
    skips = (log.candidates >= 0) & ~log.clicks
    clicked = np.flatnonzero((log.candidates >= 0) & log.clicks)
    impressions = np.searchsorted(log.candidate_offsets, clicked, side="right") - 1  # (clicks,)
    full = np.flatnonzero(np.diff(log.candidate_offsets))  # `reduceat` takes no empty ranges
    rows = np.zeros(len(log), np.bool_)
    rows[full] = np.logical_or.reduceat(skips, log.candidate_offsets[full])
    chosen = (rows if kept is None else rows & kept)[impressions]
    return ClickRows(log, impressions[chosen], log.candidates[clicked[chosen]], history)


def _last_known(numbers: Numbers, offsets: Places, longest: int) -> Flags:
    """Tell which numbers are known, with fewer than `longest` known ones after them in a range."""
    known = numbers >= 0
    before = np.zeros(len(numbers) + 1, np.int32)  # known ones before each place
    np.cumsum(known, out=before[1:])
    at_end = np.repeat(before[offsets[1:]], np.diff(offsets))
    return known & (at_end - before[:-1] <= longest)
