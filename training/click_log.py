"""Read a MIND folder into arrays of article numbers, in bounded blocks, by `contract.mind`'s rules.

What comes out equals what `contract.mind.read_folder` reads, without an object per impression, and
what is malformed raises the same MindError. `benchmarks/reading.py` measures it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.article import Article, Impression
from contract.mind import MindReport, read_impression, read_news
from training.click_log_lines import Flags, Lines, ValidTimes, lines_of, runs
from training.click_log_numbers import ArticleNumbers, Bytes, Numbers, Places

T = TypeVar("T")

FILE = "behaviors.tsv"
# A block and what is made of it stay in a core's cache.
BLOCK_BYTES = 2**20
MOST_THREADS = 4


@dataclass(frozen=True)
class ClickLog:
    """A folder's articles and N impressions; an article's number is its place in `articles`.

    Impression i read `history[history_offsets[i]:history_offsets[i + 1]]`, oldest first, and was
    shown `candidates[candidate_offsets[i]:candidate_offsets[i + 1]]`, of which it clicked where
    `clicks` is true. An id that `news.tsv` lacks keeps its place as -1, and `report` counts it.
    """

    articles: list[Article]
    history: Numbers
    history_offsets: Places  # (N + 1,)
    candidates: Numbers
    candidate_offsets: Places  # (N + 1,)
    clicks: Flags
    impression_ids: Bytes  # UTF-8, end to end
    impression_id_offsets: Places  # (N + 1,)
    report: MindReport

    def __len__(self) -> int:
        return len(self.history_offsets) - 1

    def impression(self, at: int) -> tuple[Numbers, Numbers, Flags]:
        """Return an impression's history (H,), candidates (C,) and clicks (C,), as views."""
        read = slice(*self.history_offsets[at : at + 2])
        shown = slice(*self.candidate_offsets[at : at + 2])
        return self.history[read], self.candidates[shown], self.clicks[shown]

    def impressions(self, chosen: Iterable[int]) -> list[Impression]:
        """Return some impressions as objects; reader and time are blank, unknown ids too."""
        names, ids = [*(article.id for article in self.articles), ""], list(self.ids())
        return [
            Impression(
                id=ids[i],
                user_id="",
                time=None,
                history=tuple(names[n] for n in read.tolist()),
                candidates=tuple(names[n] for n in shown.tolist()),
                clicks=tuple(clicks.tolist()),
            )
            for i, (read, shown, clicks) in ((i, self.impression(i)) for i in chosen)
        ]

    def ids(self) -> Iterator[str]:
        """Yield the impressions' ids in order."""
        offsets, text = self.impression_id_offsets.tolist(), self.impression_ids.tobytes()
        return (text[a:b].decode() for a, b in pairwise(offsets))


def read_click_log(
    folder: Path, *, block_bytes: int = BLOCK_BYTES, threads: int | None = None
) -> ClickLog:
    """Read `news.tsv` and `behaviors.tsv` of a folder, by default with a thread a core up to four.

    Raises MindError and FileNotFoundError as `contract.mind.read_folder` does.
    """
    report = MindReport()
    articles = read_news(folder / "news.tsv", report)
    ids = [article.id for article in articles]
    columns: dict[str, list[NDArray[Any]]] = {field.name: [] for field in fields(Lines)}
    workers = threads or min(os.cpu_count() or 1, MOST_THREADS)
    for lines in chain([lines_of([], {})], _read(folder / FILE, ids, block_bytes, workers)):
        lines.count(report)
        for name, parts in columns.items():
            parts.append(getattr(lines, name))
    return _joined(articles, columns, report)


def _read(path: Path, ids: Sequence[str], block_bytes: int, threads: int) -> Iterator[Lines]:
    by_id = {article_id: number for number, article_id in enumerate(ids)}
    numbers, times = ArticleNumbers(ids), ValidTimes(set(), set())
    done = 0
    with path.open("rb") as file, ThreadPoolExecutor(threads) as pool:
        blocks = _blocks(file, block_bytes)
        read = in_order(pool, lambda block: [*runs(block, numbers, times)], blocks, threads)
        for run in chain.from_iterable(read):
            yield run if isinstance(run, Lines) else _by_rules(path, run, done + 1, by_id)
            done += len(run)


def _blocks(file: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    """Cut a file into whole lines of about so many bytes; the last one gets its line end."""
    while block := file.read(block_bytes):
        block += file.readline()
        yield block if block.endswith(b"\n") else block + b"\n"


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[bytes], T], given: Iterable[bytes], ahead: int
) -> Iterator[T]:
    """Map with threads, in order, without running further ahead: what waits stays bounded."""
    waiting: deque[Future[T]] = deque()
    for one in given:
        waiting.append(pool.submit(work, one))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    yield from (future.result() for future in waiting)


def _by_rules(path: Path, run: Sequence[bytes], first: int, by_id: dict[str, int]) -> Lines:
    impressions = (read_impression(path, number, raw) for number, raw in enumerate(run, first))
    return lines_of([one for one in impressions if one is not None], by_id)


def _joined(
    articles: list[Article], columns: dict[str, list[NDArray[Any]]], report: MindReport
) -> ClickLog:
    # Taken out one by one, so that only one column is ever held twice.
    whole = {name: np.concatenate(columns.pop(name)) for name in tuple(columns)}
    return ClickLog(
        articles,
        history=whole["history"],
        history_offsets=_offsets(whole["history_lengths"]),
        candidates=whole["candidates"],
        candidate_offsets=_offsets(whole["candidate_lengths"]),
        clicks=whole["clicks"],
        impression_ids=whole["ids"],
        impression_id_offsets=_offsets(whole["id_lengths"]),
        report=report,
    )


def _offsets(lengths: Places) -> Places:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
