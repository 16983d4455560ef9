"""A made-up MIND folder of any size, the same for the same seed, and what a reader must find in it.

Lengths, ids, times and a Zipf-like popularity are like the real log's; the words mean nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.article import Article
from contract.mind import write_folder
from training.click_log_lines import ranges

Array = NDArray[Any]

# How many a reader has read and is shown, on average, and how widely that varies.
READ, SHOWN, SPREAD = 33, 37, 0.9
MOST = 600
WITHOUT_HISTORY, WITHOUT_CLICKS, UNKNOWN, MORE_CLICKS = 0.02, 0.01, 0.0005, 0.02
# A share r of the clicks goes to a share r ** 4 of the articles.
ZIPF = 4
DAYS, DAY_S = 42, 86_400
FIRST_DAY = date(2019, 10, 12)
AT_ONCE = 20_000
WORDS = (
    "the",
    "of",
    "in",
    "on",
    "for",
    "new",
    "and",
    "city",
    "team",
    "vote",
    "film",
    "law",
    "goal",
)
# Bytes of the longest piece of a line; NULs fill up shorter ones and are left out when written.
PIECE = "S20"
PIECES_BEFORE_HISTORY = 3  # impression and user, date, clock


@dataclass(frozen=True)
class Impressions:
    """Some impressions: lengths per impression, and what they add up to, end to end."""

    read: Array
    read_lengths: Array
    shown: Array
    shown_lengths: Array
    clicks: Array


class Tally:
    """Add up what was written: counts, and a digest of each array."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("impressions", "unknown", "no_clicks", "no_history"), 0)
        self._digests = {name: hashlib.sha256() for name in Impressions.__annotations__}

    def add(self, block: Impressions) -> None:
        """Add a block; the order of blocks counts, their sizes do not."""
        impression = np.repeat(np.arange(len(block.shown_lengths)), block.shown_lengths)
        clicked = len(np.unique(impression[block.clicks]))
        self.counts["impressions"] += len(block.read_lengths)
        self.counts["unknown"] += int((block.read < 0).sum() + (block.shown < 0).sum())
        self.counts["no_clicks"] += len(block.read_lengths) - clicked
        self.counts["no_history"] += int((block.read_lengths == 0).sum())
        for name, digest in self._digests.items():
            digest.update(np.ascontiguousarray(getattr(block, name)).data)

    def as_dict(self) -> dict[str, Any]:
        """Return counts and digests by name."""
        return {**self.counts, **{n: d.hexdigest() for n, d in self._digests.items()}}


def write_mind(folder: Path, *, articles: int, impressions: int, seed: int) -> Tally:
    """Write `news.tsv` and `behaviors.tsv`, a block at a time, and tell what is in them."""
    random = np.random.default_rng(seed)
    ids = [f"N{number}" for number in random.permutation(articles) + 1]
    write_folder(folder, _articles(random, ids), [])
    popular = random.permutation(articles).astype(np.int32)
    tally, text = Tally(), Text(ids)
    with (folder / "behaviors.tsv").open("wb") as file:
        for first in range(0, impressions, AT_ONCE):
            block = _impressions(random, min(AT_ONCE, impressions - first), popular)
            tally.add(block)
            file.write(text.lines(random, block, first))
    return tally


class Text:
    """Lay impressions out as lines: pieces of equal width, the filling left out at the end."""

    def __init__(self, ids: list[str]) -> None:
        days = [FIRST_DAY + timedelta(n) for n in range(DAYS)]
        self._dates = np.array([f"\t{d.month}/{d.day}/{d.year}" for d in days], PIECE)
        self._clocks = np.array([_clock(second) for second in range(DAY_S)], PIECE)
        names = [*ids, "N0"]  # the last, at -1, is no article
        self._read = np.array([f" {name}" for name in names], PIECE)
        self._shown = np.array([[f" {name}-{c}" for name in names] for c in "01"], PIECE)

    def lines(self, random: np.random.Generator, block: Impressions, first: int) -> bytes:
        """Return the lines of some impressions, the first of which has a number."""
        count = len(block.read_lengths)
        read_slots = np.maximum(block.read_lengths, 1)  # an empty history is an empty piece
        lengths = PIECES_BEFORE_HISTORY + read_slots + block.shown_lengths + 1
        heads = np.cumsum(lengths) - lengths
        read, shown = heads + PIECES_BEFORE_HISTORY, heads + PIECES_BEFORE_HISTORY + read_slots
        users = random.integers(1_000_000, size=count).tolist()
        pieces = np.full(lengths.sum(), b" ", PIECE)
        pieces[heads] = [f"{first + n + 1}\tU{user}" for n, user in enumerate(users)]
        pieces[heads + 1] = self._dates[random.integers(DAYS, size=count)]
        pieces[heads + 2] = self._clocks[random.integers(DAY_S, size=count)]
        pieces[ranges(read, block.read_lengths)] = self._read[block.read]
        pieces[ranges(shown, block.shown_lengths)] = self._shown[
            block.clicks.view("u1"), block.shown
        ]
        letters = pieces.view("u1").reshape(len(pieces), -1)
        # Entries begin with a blank; the first of a column begins with its tab.
        letters[read, 0] = letters[shown, 0] = ord("\t")
        letters[heads + lengths - 1, 0] = ord("\n")
        text: bytes = letters[letters != 0].tobytes()
        return text


def _clock(second: int) -> str:
    hour, rest = divmod(second, 3_600)
    half = "PM" if hour >= 12 else "AM"
    return f" {hour % 12 or 12}:{rest // 60:02}:{rest % 60:02} {half}"


def _impressions(random: np.random.Generator, count: int, popular: Array) -> Impressions:
    read_lengths = _lengths(random, count, READ)
    read_lengths[random.random(count) < WITHOUT_HISTORY] = 0
    shown_lengths = _lengths(random, count, SHOWN)
    clicks = random.random(shown_lengths.sum()) < MORE_CLICKS
    chosen = np.cumsum(shown_lengths) - shown_lengths + random.integers(shown_lengths)
    clicks[chosen] = True
    unclicked = random.random(count) < WITHOUT_CLICKS
    clicks[np.repeat(unclicked, shown_lengths)] = False
    read = _numbers(random, read_lengths.sum(), popular)
    shown = _numbers(random, shown_lengths.sum(), popular)
    return Impressions(read, read_lengths, shown, shown_lengths, clicks)


def _lengths(random: np.random.Generator, count: int, mean: int) -> Array:
    drawn = random.lognormal(np.log(mean) - SPREAD**2 / 2, SPREAD, count)
    return np.clip(np.rint(drawn), 2, MOST).astype(np.int64)


def _numbers(random: np.random.Generator, count: int, popular: Array) -> Array:
    ranks = len(popular) * random.random(count, np.float32).astype(float) ** ZIPF
    numbers = popular[ranks.astype(np.int64)]
    numbers[random.random(count, np.float32) < UNKNOWN] = -1
    return numbers


def _articles(random: np.random.Generator, ids: list[str]) -> Iterator[Article]:
    for article_id in ids:
        words = [WORDS[n] for n in random.integers(len(WORDS), size=50).tolist()]
        yield Article(
            id=article_id,
            topic=words[0],
            subtopic=words[0] + words[1],
            title=" ".join(words[2:12]),
            abstract=" ".join(words[12:]) if random.random() > 0.05 else "",
            url=f"https://example.org/{article_id}.html",
        )
